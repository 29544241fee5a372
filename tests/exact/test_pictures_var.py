"""The law of a picture drawn scale by scale, on a pyramid small enough to write every picture down.

Two scales, 1 and 2 x 2 cells, three codes each: 3^5 pictures. The network is a table that reads the first code off its
canvas; given it, the four codes of the second scale are independent, each with a law of its own.
"""

from collections import Counter
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engines import stats
from engines.events import Commit, Forward, expand
from engines.next_scale.sample import DEFAULTS, NET, TOKENIZER, filtered, guide, keyed, sample, strength
from engines.next_scale.var import var
from engines.noise import Noise
from engines.runtime import Meter

SCALES, CODES = [1, 2], 3
GUIDANCE, TOP_P = 1.5, 0.9


class TinyTokenizer:
    """f_hat holds the first code as it is; the second scale adds nothing that matters here."""

    scales, params, bytes, cache_bytes = SCALES, 0, 0, 0

    def zero(self, rows):
        return torch.zeros(rows, 1, 2, 2)

    def add(self, f_hat, k, ids):
        return f_hat + (ids[:, :, None, None].float().view(-1, 1, 1, 1) if k == 0 else 0)

    def canvas(self, f_hat, k):
        return f_hat.flatten(2).transpose(1, 2)[:, : SCALES[k] ** 2]

    def __call__(self, f_hat):
        return torch.zeros(1, 3, 4, 4)

    def session(self):
        return self


class Table:
    """Logits by (captioned or null, scale, first code, place), as a network and as its session."""

    params, bytes, cache_bytes = 0, 0, 0
    last = {"reads": [], "computes": []}

    def __init__(self):
        rng = np.random.default_rng(4)
        self.first = torch.tensor(rng.normal(0, 1.2, (2, CODES)))
        self.second = torch.tensor(rng.normal(0, 1.2, (2, CODES, 4, CODES)))

    def session(self, rows=2):
        return self

    def __call__(self, k, canvas, caption, keep):
        null = (~keep).long()
        if k == 0:
            return self.first[null][:, None]
        return self.second[null, canvas[:, -1, 0].round().long()]

    def law(self):
        """p of every picture (r_1, r_2 at its four places), by the definition of the sampler."""
        one = filtered(guide(self.first, strength(0, 2, GUIDANCE, True)), top_p=TOP_P)[0]
        out = {}
        for r in product(range(CODES), repeat=5):
            two = filtered(guide(self.second[:, r[0]], strength(1, 2, GUIDANCE, True)), top_p=TOP_P)[0]
            out[r] = float(one[r[0]] * np.prod([float(two[i, c]) for i, c in enumerate(r[1:])]))
        return out


TABLE = Table()


def drawn(n, base=0, draw=keyed, **how):
    """n pictures by the plain sampler, one seed each."""
    out: Counter = Counter()
    for start in range(base, base + n, 2_000):
        seeds = range(start, min(start + 2_000, base + n))
        captions = torch.zeros(len(seeds), 4, 4, dtype=torch.long)
        ids, _ = sample(TABLE, TinyTokenizer(), captions, draw(seeds, SCALES),
                        **({"guidance": GUIDANCE, "top_p": TOP_P} | how))
        out.update(tuple(row) for row in torch.cat(ids, dim=1).tolist())
    return out


def together(seeds, scales):
    """The broken twin that takes one number for a whole scale."""
    u = [torch.from_numpy(np.stack([Noise(s).uniform("token", [k]) for s in seeds])) for k in range(len(scales))]
    return lambda k, p: (p.cumsum(-1) < u[k][:, :, None]).sum(-1).clamp(max=CODES - 1)


def test_the_plain_sampler_has_the_law_of_the_definition():
    assert sum(TABLE.law().values()) == pytest.approx(1)
    got = stats.chi_square(drawn(20_000), TABLE.law())
    assert got["p"] > 1e-3, got


@pytest.mark.parametrize(("name", "twin"), [
    ("no guidance", {"guidance": 0.0}),
    ("guidance without its ramp", {"ramp": False}),
    ("no filter", {"top_p": 1.0}),
    ("one number for a whole scale", {"draw": together}),
    ("always the likeliest", {"top_k": 1}),
])
def test_a_broken_sampler_is_caught(name, twin):
    assert stats.chi_square(drawn(3_000, **twin), TABLE.law())["p"] < 1e-6


def lane(seed):
    """The codes of one run of the lane itself on the table."""
    settings = SimpleNamespace(**(DEFAULTS | {"guidance": GUIDANCE, "top_p": TOP_P}), caption="", other="", keep=0,
                               region="none", region_cells="", stop=2, previews=False)
    nets = {NET: TABLE, TOKENIZER: TinyTokenizer()}
    events = list(var(settings, Noise(seed), Meter(nets.__getitem__)))
    calls = [e for e in events if isinstance(e, Forward) and e.net == NET]
    assert [e.nfe for e in calls] == [2, 4]
    found = {c: v for e in events if isinstance(e, Commit) for c, v in zip(expand(e.cells), e.values, strict=True)}
    return tuple(found[c] for c in range(5))


def test_the_lane_draws_what_the_sampler_draws_seed_by_seed():
    # So the law of the sampler is the law of the lane.
    for seed in range(200):
        assert drawn(1, seed) == {lane(seed): 1}
