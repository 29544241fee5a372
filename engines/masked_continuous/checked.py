"""Many pictures of `cspd` at once, without events: what claims use. The lanes draw the same tokens one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from engines.masked_continuous.diffloss import Walk, ours
from engines.masked_continuous.model import Mar, rows_at
from engines.masked_continuous.sampler import APART, ROWS, Rule, order_of, others, start_of, steps_of
from engines.masked_continuous.sets import Round, guidance_at, lengths, sets_of
from engines.masked_continuous.verdict import EXACT, Check, Verdict, judge, last, some
from engines.noise import Noise

Judge = Callable[[Noise, list[int], Tensor, Walk, Walk, Check], Verdict]


@dataclass(frozen=True)
class Plan:
    """How pictures are drawn: the rounds of a target, who guesses for it, and how guesses are judged."""

    rounds: Sequence[Round]
    check: Check = EXACT
    aligned: bool = True
    judge: Judge = judge


@dataclass
class Tally:
    """Of each picture: guesses judged, their mean chance to stay, how many stayed, and proposals that all failed."""

    tested: list[int] = field(default_factory=list)
    chance: list[float] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)


def paint_checked(
    target: Mar, draft: Mar | None, objects: Tensor, seeds: Sequence[int], rule: Rule, plan: Plan,
    ask: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tally]:
    """Latents (n, L, C) of captions (n, 4, 4), picture i by the numbers of seeds[i], in random orders."""
    tally, parts = Tally(), []
    for first in range(0, len(seeds), ROWS):
        part = slice(first, first + ROWS)
        made = _Many(target, draft, objects[part], [Noise(seed) for seed in seeds[part]], rule, plan)
        parts.append(made.paint(tally, ask))
    return torch.cat(parts), tally


class _Many:
    """Pictures of one caption each, in step with one another. n rows, N places of a set, C channels."""

    def __init__(
        self, target: Mar, draft: Mar | None, objects: Tensor, noises: list[Noise], rule: Rule, plan: Plan
    ):
        self.target, self.draft, self.objects = target.session(), draft and draft.session(), objects
        self.noises, self.rule, self.plan = noises, rule, plan
        self.L, self.C = target.length, target.head.channels
        self.sets = [sets_of(order_of(noise, self.L)[::-1], rule.sets) for noise in noises]
        self.left = lengths(self.L, rule.sets)

    def cells(self, first: int, stop: int) -> Tensor:
        """(n, N): the places of these sets, ascending."""
        return torch.tensor([sorted(c for one in own[first:stop] for c in one) for own in self.sets], dtype=torch.long)

    def noise(self, cells: Tensor, stream: str = "") -> tuple[Tensor, Tensor]:
        own = list(zip(self.noises, cells.tolist(), strict=True))
        return (torch.cat([start_of(noise, some_, self.C, stream) for noise, some_ in own]),
                torch.cat([steps_of(noise, some_, self.rule.inner, self.C, stream) for noise, some_ in own], dim=1))

    @torch.inference_mode()
    def walk(self, session: object, latents: Tensor, hidden: Tensor, cells: Tensor, stop: int,
             noises: tuple[Tensor, Tensor]) -> Walk:
        """From the places that are not `hidden` (n, H) to cells (n, N), the last of which is of set stop - 1."""
        rule, visible = self.rule, others(hidden, self.L)
        z = session(rows_at(latents, visible), visible, self.objects, rule.pair, cells)  # type: ignore[operator]
        w = guidance_at(rule.guidance, rule.schedule, self.left[stop - 1], self.L)
        schedule = ours(rule.inner, rule.finish)
        found: Walk = session.head.walk(z.flatten(0, 1), *noises, schedule, w, rule.tau)  # type: ignore[attr-defined]
        return found

    def paint(self, tally: Tally, ask: Callable[[], None]) -> Tensor:
        n, rule = len(self.noises), self.rule
        latents = torch.zeros(n, self.L, self.C)
        counts = np.zeros((4, n))
        for first, stop, drafted in self.plan.rounds:
            ask()
            cells, hidden = self.cells(first, stop), self.cells(first, rule.sets)
            if self.draft is None or not drafted:
                noises = self.noise(cells)
                p = self.walk(self.target, latents, hidden, cells, stop, noises)
                put(latents, cells, last(p, noises[1][-1]))
                continue
            q, x, noises = self._guess(latents, first, stop, cells)
            if not self.plan.aligned:
                noises = self.noise(cells, APART)
            p = self.walk(self.target, latents, hidden, cells, stop, noises)
            put(latents, cells, self._judge(cells, x, p, q, counts))
        tested = np.maximum(counts[0], 1)
        tally.tested += [int(t) for t in counts[0]]
        tally.chance += (counts[1] / tested).tolist()
        tally.kept += [int(t) for t in counts[2]]
        tally.failed += [int(t) for t in counts[3]]
        return latents

    def _guess(
        self, latents: Tensor, first: int, stop: int, cells: Tensor
    ) -> tuple[Walk, Tensor, tuple[Tensor, Tensor]]:
        """The draft's walks to cells (n, N), its tokens there, and the noises of them."""
        seen, walks, found, starts, steps, places = latents.clone(), [], [], [], [], []
        for k in range(first, stop):
            own, noises = self.cells(k, k + 1), self.noise(self.cells(k, k + 1))
            q = self.walk(self.draft, seen, self.cells(k, self.rule.sets), own, k + 1, noises)
            x = last(q, noises[1][-1])
            put(seen, own, x)
            n, N = own.shape
            places.append(own)
            walks.append([part.unflatten(-2, (n, N)) for part in q])
            found.append(x.view(n, N, -1))
            starts.append(noises[0].view(n, N, -1))
            steps.append(noises[1].unflatten(1, (n, N)))
        # Sets one after another -> places of each row in ascending order, rows one after another.
        turn = torch.cat(places, dim=1).argsort(dim=1)

        def sorted_(parts: list[Tensor]) -> Tensor:
            whole = torch.cat(parts, dim=-2)
            return whole.gather(-2, turn[..., None].expand(whole.shape)).flatten(-3, -2)

        walked = Walk(*(sorted_([own[i] for own in walks]) for i in range(4)))
        return walked, sorted_(found), (sorted_(starts), sorted_(steps))

    def _judge(self, cells: Tensor, x: Tensor, p: Walk, q: Walk, counts: np.ndarray) -> Tensor:
        N, out = cells.shape[1], []
        for row, (noise, own) in enumerate(zip(self.noises, cells.tolist(), strict=True)):
            rows = range(row * N, (row + 1) * N)
            found = self.plan.judge(noise, own, x[rows.start : rows.stop], some(p, rows), some(q, rows),
                                    self.plan.check)
            counts[:, row] += N, found.ratio.sum(), found.stays.sum(), found.failed.sum()
            out.append(found.tokens)
        return torch.cat(out)


def put(latents: Tensor, cells: Tensor, tokens: Tensor) -> None:
    """Write tokens (n · N, C) at cells (n, N) of latents (n, L, C)."""
    latents.scatter_(1, cells[..., None].expand(-1, -1, latents.shape[-1]), tokens.view(*cells.shape, -1))
