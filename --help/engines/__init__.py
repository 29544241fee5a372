"""What computes: worlds, networks and decoding algorithms; nothing here knows the page.

    from engines import run
    for event in run("assd", seed=1):
        print(event.to_json())
"""

from typing import Any

__all__ = ["measure", "run"]


def __getattr__(name: str) -> Any:
    """`run` and `measure`, imported when asked for: reading a trace needs no torch."""
    if name in __all__:
        from engines import runtime  # noqa: PLC0415

        return getattr(runtime, name)
    raise AttributeError(name)
