"""One line of the table: what was measured, what came out, what it should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """here, target: in `unit`, lower is better unless `more`. A row without target is a report."""

    what: str
    here: float
    unit: str
    target: float | None = None
    how: str = ""
    more: bool = False

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        # As precise as the table shows it: one frame of a 60 Hz screen is 16.67 ms, give or take its timer.
        here = float(number(self.here))
        return here >= self.target if self.more else here <= self.target

    def line(self) -> str:
        verdict = {True: "yes", False: "**no**", None: ""}[self.met]
        limit = "at least" if self.more else "at most"
        goal = "" if self.target is None else f"{limit} {number(self.target)} {self.unit}"
        return f"| {self.what} | {number(self.here)} {self.unit} | {goal} | {verdict} | {self.how} |"


HEAD = "| what | here | target | met | how |\n|---|---|---|---|---|"


def number(x: float) -> str:
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"


def table(rows: list[Row]) -> str:
    return "\n".join([HEAD, *(r.line() for r in rows)])
