"""Answering a question about two variables that were never read together: at once, or after writing others first.

Source: Prystawski, Li and Goodman, "Why think step by step? Reasoning emerges from the locality of experience",
arXiv 2304.03843. The question: p(X_t = 1 | X_c = v). Four estimators, one network:
    direct      read the answer at once
    free        the model names a variable, draws its value, and goes on until it names the target; then read
    scaffold    the variables that separate c and t in the graph, nearest to c first; then read
    negative    as many others
All but the first write M chains and average the answers they end with (probabilities, not votes).

Differs: a variable that was written cannot be named again (no training sample does so), hence every chain arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.events import Begin, Commit, Event, Forward, Measure, Note, Phase, Propose, Steps
from engines.next_token import gap_text as text
from engines.next_token.gap_text import HEAD, VALUE
from engines.noise import Noise
from engines.runtime import Meter, Net
from engines.sampling import entropy, softmax, top
from engines.worlds import bayes
from engines.worlds.bayes import BayesNet, Question

NETS = {kind: f"next_token/gap-{kind}" for kind in ("local", "full", "wrong")}
WORLDS = tuple(str(k + 1) for k in range(bayes.NETS))
MAX_CHAINS = 50
# A name is drawn at a key of its own, past all cells: forcing a variable's value must not force which one comes next.
ORDER = MAX_CHAINS * bayes.VARIABLES
Plan = Callable[[BayesNet, Question, Noise], "list[int] | None"]
Answer = Generator[Event, None, float]


def question(s: SimpleNamespace, noise: Noise) -> Question:
    """The question of these settings; what they leave open the seed draws."""
    own = bayes.nets()[WORLDS.index(s.world)].questions
    ways = len(own) // 2
    way = s.pair - 1 if s.pair else int(noise.uniform("prompt", [0])[0] * ways)
    value = int(s.value) if s.value != "seed" else int(noise.uniform("prompt", [1])[0] * 2)
    return own[2 * way + value]


def at_once(net: BayesNet, q: Question, noise: Noise) -> list[int]:
    return []


def freely(net: BayesNet, q: Question, noise: Noise) -> None:
    return None


def scaffolded(net: BayesNet, q: Question, noise: Noise) -> list[int]:
    return net.scaffold(q.given, q.target)


def elsewhere(net: BayesNet, q: Question, noise: Noise) -> list[int]:
    """As many variables as the scaffold has, none of them in it; the seed chooses."""
    apt = net.scaffold(q.given, q.target)
    rest = [i for i in range(net.size) if i not in (*apt, q.given, q.target)]
    return [rest[k] for k in np.argsort(noise.uniform("order", rest))[: len(apt)]]


def answer(s: SimpleNamespace, noise: Noise, meter: Meter, plan: Plan = freely, title: str = "Freely") -> Steps:
    """Answer a question by M chains (one if nothing is written). s: training, world, pair, value, chains."""
    net, world = meter.net(NETS[s.training]), WORLDS.index(s.world)
    graph, q = bayes.nets()[world], question(s, noise)
    order = plan(graph, q, noise)
    chains = 1 if order == [] else s.chains
    names, size = bayes.NAMES, graph.size
    nodes = [{"name": names[i], "at": graph.layout[i]} for i in range(size)]
    yield Begin(title=title, nets=[meter.card(NETS[s.training], "target")],
                canvases=[{"id": "net", "kind": "graph", "rows": chains, "target": q.target, "given": q.given,
                           "shape": {"nodes": nodes, "edges": [list(e) for e in graph.edges]}}],
                given={"cells": [m * size + q.given for m in range(chains)], "values": [q.value] * chains})
    yield from _known(s, meter, graph, world, q)
    said = f"{names[q.given]} is {q.value}. How likely is it that {names[q.target]} is 1?"
    yield Note(key="gap.asked", args={}, text=f"{said} The two never stood in one training text.",
               cells=[q.given, q.target])
    answers: list[float] = []
    lengths: list[int] = []
    for m in range(chains):
        yield Phase(unit="chain", index=m, of=chains, state="start", cells=[[m * size, (m + 1) * size]])
        chain = Chain(net, noise, world, q, m, size)
        answers.append((yield from chain.write(order)))
        lengths.append(len(chain.known) - 1)
        yield Measure(name="estimate", value=float(np.mean(answers)), unit="probability", x=m + 1)
        yield Note(key="gap.chain", args={}, text=_told(chain, answers, names), cells=[m * size + q.target])
    return {"estimate": float(np.mean(answers)), "truth": graph.answer(q), "chains": chains,
            "written": float(np.mean(lengths)), "calls": net.calls}


def _known(s: SimpleNamespace, meter: Meter, graph: BayesNet, world: int, q: Question) -> Generator[Event, None, None]:
    """What the network is not told: the true answer, the answer without the condition, and what was read together."""
    with meter.preview():
        yield Measure(name="truth", value=graph.answer(q), unit="probability")
        yield Measure(name="marginal", value=graph.p(q.target, {}), unit="probability")
        if not meter.quiet:
            shares = text.company(s.training, world, q.target)
            yield Measure(name="company", value=shares[q.given], unit="share of texts", cells=[[0, graph.size]],
                          values=list(shares))


class Chain:
    """One chain: the text so far, and the steps that write it. Cell of variable i = chain · variables + i."""

    def __init__(self, net: Net, noise: Noise, world: int, q: Question, index: int, size: int):
        self.net, self.noise, self.world, self.q = net, noise, world, q
        self.base, self.size = index * size, size
        self.tokens = text.asked(world, q)
        self.known = {q.given: q.value}

    def write(self, order: list[int] | None) -> Answer:
        """Write the variables of `order`, or those that the model names, then return p(target = 1)."""
        for step in range(self.size):
            names = None
            if order is None:
                names = yield from self._name()
                draw = self.noise.draw("order", [ORDER + self.base + step], names[None])[0]
                i = draw.index
            else:
                i = order[step] if step < len(order) else self.q.target
            self.tokens.append(text.name(self.world, i))
            z = self.net(self.tokens, predict=1)[-1]
            yield self._forward([i])
            p = softmax(np.asarray(z, dtype=np.float64)[VALUE : VALUE + 2])
            if i == self.q.target:
                yield self._read(i, p, names)
                return float(p[1])
            yield self._draw(i, p, names)
        raise AssertionError("the target is always open, so a chain ends with it")

    def _name(self) -> Generator[Event, None, np.ndarray]:
        """p(next name) (variables,) among those that are not written yet."""
        z = np.asarray(self.net(self.tokens, predict=1)[-1], dtype=np.float64)
        open_ = [i for i in range(self.size) if i not in self.known]
        yield self._forward(open_)
        closed = np.full(self.size, -np.inf)
        closed[open_] = z[[text.name(self.world, i) for i in open_]]
        return softmax(closed)

    def _draw(self, i: int, p: np.ndarray, names: np.ndarray | None) -> Commit:
        x = self.noise.draw("token", [self.base + i], p[None])[0]
        self.known[i] = x.index
        self.tokens.append(VALUE + x.index)
        return Commit(cells=[self.base + i], values=[x.index], p=[x.p], entropy=[entropy(p)],
                      origin="forced" if x.forced else "sampled", dists=_dists(i, p, names))

    def _read(self, i: int, p: np.ndarray, names: np.ndarray | None) -> Propose:
        """The answer is read, not drawn: it stays a proposal."""
        return Propose(cells=[self.base + i], values=[float(p[1])], p=[float(p[1])], dists=_dists(i, p, names))

    def _forward(self, predicts: list[int]) -> Forward:
        last = getattr(self.net.session, "last", {"reads": [], "computes": range(len(self.tokens))})
        cells = {name: self._cells(last[name]) for name in ("reads", "computes")}
        return self.net.forward(cells["reads"], cells["computes"], [self.base + i for i in predicts],
                                "step" if self.net.calls > 1 else "prefill")

    def _cells(self, positions: Any) -> list[int]:
        """The variables whose name or value stands at these positions; the question's head has no cell."""
        body = [k for k in positions if k >= HEAD]
        return sorted({self.base + text.named(self.tokens[HEAD + (k - HEAD) // 2 * 2])[1] for k in body})


def _dists(i: int, p: np.ndarray, names: np.ndarray | None) -> dict[str, list[dict[str, Any]]]:
    out = {"value": [{"top": [[1, float(p[1])], [0, float(p[0])]], "rest": 0.0}]}
    if names is not None:
        out["next"] = [top(names, bayes.NAMES, 5, always=[i])]
    return out


def _told(chain: Chain, answers: list[float], names: tuple[str, ...]) -> str:
    lines = [f"{names[i]} is {v}" for i, v in chain.known.items() if i != chain.q.given]
    shown = ", ".join(lines) if len(lines) <= 5 else f"{', '.join(lines[:4])} and {len(lines) - 4} more"
    way = f"It wrote: {shown}. " if lines else ""
    then = f"Then {names[chain.q.target]} has {answers[-1]:.2f}" if lines else f"At once: {answers[-1]:.2f}"
    mean = f"; the mean of {len(answers)} is {np.mean(answers):.2f}" if len(answers) > 1 else ""
    return f"{way}{then}{mean}."
