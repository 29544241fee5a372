"""How a draw of a Bayes net is written for a language model, and which parts of the world it gets to read.

Source: Prystawski, Li and Goodman, arXiv 2304.03843, and benpry/why-think-step-by-step. A sample names its target,
gives the value of a first variable (the condition), then of others in random order, the target's last:
    target D  A 1  C 0  D 1  END
Differs: one token a name, not BPE, so that the choice of a name is exact; one network reads all Bayes nets, each with
names of its own, where the paper trains one network a net; and as our nets have a quarter of the paper's variables,
neighbourhoods are smaller: r ~ Geometric(4/5), the paper's 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from engines.next_token.model import BOS, END, MASK, PAD
from engines.worlds import bayes
from engines.worlds.bayes import BayesNet, Question

TARGET, VALUE, VARIABLE = MASK + 1, MASK + 2, MASK + 4
VOCAB = VARIABLE + bayes.NETS * bayes.VARIABLES
HEAD = 3  # positions before the condition's name: BOS, TARGET, the target's name
LENGTH = HEAD - 1 + 2 * (bayes.VARIABLES + 1) + 1  # cells of the longest sample, END included; a lone variable is twice
RADIUS, DROP = 0.8, 0.2
KINDS = ("local", "full", "wrong", "seen")


def name(world: int, i: int) -> int:
    """The token that names variable i of a net."""
    return VARIABLE + world * bayes.VARIABLES + i


def named(token: int) -> tuple[int, int]:
    """The net and the variable that a token names."""
    return divmod(token - VARIABLE, bayes.VARIABLES)


def written(world: int, order: Sequence[int], draw: Sequence[int]) -> list[int]:
    """The tokens after BOS of one sample: `order` is the condition first and the target last; draw[i] is X_i."""
    target = order[-1]
    lines = order if len(order) > 1 else [target, target]
    pairs = [token for i in lines for token in (name(world, i), VALUE + int(draw[i]))]
    return [TARGET, name(world, target), *pairs, END]


def asked(world: int, q: Question) -> list[int]:
    """The prompt of a question, BOS first: all that the model is told."""
    return [BOS, TARGET, name(world, q.target), name(world, q.given), VALUE + q.value]


def variables(net: BayesNet, around: BayesNet, kind: str, rng: np.random.Generator) -> list[int]:
    """Which variables a sample shows, in the order in which they are written.

    local, wrong: those within r steps of a random centre in `around` (the net itself, or another one), r ~
    Geometric(4/5), each dropped with probability 0.2; full: all. Of a held-out pair one goes, at random. seen: all,
    held-out pairs included.
    """
    while True:
        if kind in ("full", "seen"):
            chosen = list(range(net.size))
        else:
            near = around.near(int(rng.integers(net.size)), int(rng.geometric(RADIUS)))
            chosen = [i for i in near if rng.random() >= DROP]
        if kind != "seen":
            for pair in net.held_out:
                if set(pair) <= set(chosen):
                    chosen.remove(pair[int(rng.integers(2))])
        if chosen:
            return [chosen[k] for k in rng.permutation(len(chosen))]


def samples(kind: str, first: int, count: int) -> np.ndarray:
    """`count` samples of every net (NETS · count, LENGTH) int64, END and PAD behind; `first` seeds them."""
    rng = np.random.default_rng(first)
    out = np.full((bayes.NETS * count, LENGTH), PAD)
    for k, net in enumerate(bayes.nets()):
        around = bayes.other(k) if kind == "wrong" else net
        for row, draw in enumerate(net.sample(first + k, count), start=k * count):
            text = written(k, variables(net, around, kind, rng), draw)
            out[row, : len(text)] = text
    return out


@lru_cache(maxsize=32)
def company(kind: str, world: int, target: int, count: int = 3_000) -> tuple[float, ...]:
    """For each variable, the share of training samples with `target` that also show it."""
    net, rng = bayes.nets()[world], np.random.default_rng(0)
    around = bayes.other(world) if kind == "wrong" else net
    shown = np.zeros((count, net.size))
    for row in shown:
        row[variables(net, around, kind, rng)] = 1
    with_target = shown[shown[:, target] == 1]
    return tuple(with_target.mean(0).tolist()) if len(with_target) else (0.0,) * net.size


class Exact:
    """The Bayes net itself in the place of a trained network: called as `engines.next_token.model.Session`.

    A value has its exact probability given all values written before; the next name is any open one, evenly, or what
    `names(open variables, target)` says.
    """

    params, bytes, cache_bytes = 0, 0, 0

    def __init__(self, names: Callable[[list[int], int], np.ndarray] | None = None):
        self.names = names

    def warm(self) -> None:
        pass

    def __call__(self, tokens: Sequence[int], predict: int) -> np.ndarray:
        assert predict == 1
        world, target = named(tokens[2])
        net, body = bayes.nets()[world], list(tokens[HEAD:])
        self.last = {"reads": [], "computes": list(range(len(tokens)))}
        known = {named(body[k])[1]: body[k + 1] - VALUE for k in range(0, len(body) - 1, 2)}
        z = np.full(VOCAB, -np.inf)
        if len(body) % 2:  # a name stands last: its value is wanted
            p = net.p(named(body[-1])[1], known)
            with np.errstate(divide="ignore"):
                z[VALUE : VALUE + 2] = np.log([1 - p, p])
        else:
            open_ = [i for i in range(net.size) if i not in known]
            names = self.names(open_, target) if self.names else np.ones(len(open_))
            with np.errstate(divide="ignore"):
                z[[name(world, i) for i in open_]] = np.log(names)
        return z[None]
