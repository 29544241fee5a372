"""RADD: a network that is not told the time, so that a step which changes nothing costs nothing; and its timed twin.

Source: Ou et al., arXiv 2406.03736, with SEDD (2310.16834) as the twin. Symbols: n steps, times t_0 = 1 > … > t_n,
r(t -> s) the chance that a hidden cell opens, q(v) what the network says of it, l hidden cells.

Every hidden cell becomes v with chance r·q(v), else stays hidden; under log-linear noise Tweedie's and Euler's r are
both (t - s) / t. Open cells never change. q depends on the page only, so it is asked for again only when the page has
changed: E-NFE(n) = n (1 - (1 - 1/n)^l) evaluations are expected, never more than l.

The twin is told sigma_bar(t), so that its answer ages although the page does not: it is asked at every step. Its score
s_v need not sum to r, so a cell opens with chance (e^dsigma - 1)·sum_v s_v (SEDD's analytic step).

Differs: one number decides both whether a cell opens and to what, as in the official `direct` path, and top-p and top-k
are applied to the words alone, so that they too leave r as it is.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from engines.discrete_diffusion import page as pages
from engines.discrete_diffusion import rules
from engines.discrete_diffusion.answers import Ask, Loop, alone
from engines.discrete_diffusion.losses import EPS
from engines.discrete_diffusion.page import Page, Reader
from engines.discrete_diffusion.unmask import NET
from engines.events import Measure, Phase, Steps, spans
from engines.noise import Noise
from engines.runtime import Meter

TWIN = "discrete_diffusion/sedd"


def radd(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Not told the time. s: share, pattern, blanks, story, ending, steps, order, top_p,
    top_k, cache."""
    page = pages.open_page(s, noise)
    yield pages.begin(page, "Not told the time", [meter.card(NET, "target")])
    return (yield from alone(reverse(page, s, noise, meter), meter.net(NET)))


def sedd(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """The twin, told the noise level at every step."""
    page = pages.open_page(s, noise)
    yield pages.begin(page, "Told the time", [meter.card(TWIN, "target")])
    return (yield from alone(reverse(page, s, noise, meter, timed=True), meter.net(TWIN)))


def expected_nfe(steps: int, cells: int, upto: int | None = None) -> float:
    """E-NFE(n) of l hidden cells in n equal steps of log-linear noise (section 4.1), or of its first `upto` steps.

    A step asks if the one before it opened a cell (chance 1 - (1 - 1/n)^l) and the page was not complete by then.
    """
    m, changed = steps if upto is None else upto, 1 - (1 - 1 / steps) ** cells
    return 1 + (m - 1) * changed - ((m - 1) / steps) ** cells


def sigma_bar(t: float) -> float:
    """Log-linear noise: a cell is hidden with chance 1 - e^-sigma_bar = (1 - EPS) t."""
    return -math.log1p(-(1 - EPS) * t)


def scaled_score(z: np.ndarray, sigma: float) -> np.ndarray:
    """Logits (T, V) of SEDD's network -> s_v, float64."""
    return np.exp(np.asarray(z, dtype=np.float64)) / (math.expm1(sigma) * z.shape[-1])


def analytic(s: np.ndarray, t: float, after: float | None) -> tuple[np.ndarray, np.ndarray]:
    """SEDD's step from time t to `after` (None: the denoising step to 0): (r, q) of each cell, (T,) and (T, V)."""
    d_sigma = sigma_bar(t) - (0.0 if after is None else sigma_bar(after))
    total = s.sum(-1)
    r = np.ones(len(s)) if after is None else np.minimum(1.0, math.expm1(d_sigma) * total)
    return r, s / total[:, None]


def reverse(page: Page, s: SimpleNamespace, noise: Noise, meter: Meter, timed: bool = False,
            reuse: bool | None = None) -> Loop:
    """The reverse process in s.steps steps, or one cell a step if s.order is not "diffusion".

    reuse: answer an unchanged page from memory (default: what s.cache says, but never for a network told the time).
    """
    if s.order != "diffusion":
        return (yield from in_order(page, s, noise, meter, timed))
    reuse = (s.cache and not timed) if reuse is None else reuse
    reader, total = Reader(page, meter), len(page.masked)
    t = rules.times(s.steps)
    z: np.ndarray | None = None
    calls = idle = steps = 0
    for k in range(s.steps):
        if not (hidden := page.masked):
            break
        steps += 1
        yield Phase(unit="step", index=k, of=s.steps, state="start", cells=spans(hidden))
        if z is None or not reuse:
            z = yield Ask([page.ids()], list(range(page.shown)), page.shown, sigma=sigma_bar(t[k]) if timed else None)
            calls += 1
            assert z is not None
        elif note := pages.unchanged(idle := idle + 1):
            yield note
        yield Measure(name="evaluations", value=calls, unit="calls", x=k + 1)
        yield Measure(name="expected", value=expected_nfe(s.steps, total, k + 1), unit="calls", x=k + 1)
        last = k + 1 == s.steps
        if timed:
            r, p = analytic(scaled_score(z[0][hidden], sigma_bar(t[k])), t[k], None if last else t[k + 1])
            p = pages.laws(page, np.log(np.maximum(p, 1e-300)))
        else:
            r, p = np.full(len(hidden), 1.0 if last else 1 - t[k + 1] / t[k]), pages.laws(page, z[0][hidden])
        law = rules.drawn_from(p, 1.0, s.top_p, s.top_k)
        rows, drawn = rules.opened(noise, hidden, law, r)
        if rows:
            z = None
            cells = [hidden[i] for i in rows]
            yield from pages.open_cells(page, noise, reader, cells, drawn, p[rows], law[rows], calls)
    return pages.summary(page, calls, calls, steps, reader.price) | {"expected": expected_nfe(s.steps, total)}


def in_order(page: Page, s: SimpleNamespace, noise: Noise, meter: Meter, timed: bool = False) -> Loop:
    """One cell a step in a fixed order, forward, backward or random: the any-order reading of the same network.

    A network that is told the time is told the noise level at which just so many cells are expected to be hidden.
    """
    reader, hidden = Reader(page, meter), page.masked
    order = {"forward": hidden, "backward": hidden[::-1]}.get(s.order)
    if order is None:
        order = [hidden[i] for i in np.argsort(noise.uniform("order", hidden), kind="stable")]
    for k, cell in enumerate(order):
        yield Phase(unit="step", index=k, of=len(order), state="start", cells=[cell])
        sigma = sigma_bar((len(order) - k) / page.shown) if timed else None
        z = yield Ask([page.ids()], [cell], page.shown, sigma=sigma)
        assert z is not None
        p = pages.laws(page, z[0])
        law = rules.drawn_from(p, 1.0, s.top_p, s.top_k)
        drawn = noise.draw("token", [cell], law)
        yield from pages.open_cells(page, noise, reader, [cell], drawn, p, law, k + 1)
    return pages.summary(page, len(order), len(order), len(order), reader.price) | {"expected": float(len(order))}
