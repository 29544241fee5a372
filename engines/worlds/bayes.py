"""Small random Bayes nets over binary variables, every conditional probability exact.

Made as in Prystawski, Li and Goodman (2304.03843), smaller: as many edges as variables, drawn among all pairs, half of
them turned round, until there is no cycle; p(root) uniform, every row of the other tables Beta(0.2, 0.2), so nearly
certain one way or the other. Of many candidates those are kept whose held-out pairs tell most about one another: the
paper takes the highest mean, here it is the highest least, so that every question has something to tell.
`HELD_OUT` pairs never stand together in a training sample; a question asks for one given the other.

Differs: 26 variables, not 100; held-out pairs are at least `APART` edges apart, the paper's at least two. A small
network that is trained well infers through one variable between without writing it down, and then has nothing to gain.

The nets are drawn once (`python -m engines.worlds.bayes`, a minute) and stored: networks were trained on these.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

VARIABLES, EDGES = 26, 26
CANDIDATES, NETS = 600, 10
HELD_OUT, AMONG, APART = 6, 12, 3
NAMES = tuple(string.ascii_uppercase[:VARIABLES])
STORED = Path(__file__).parent.parent.parent / "assets" / "worlds" / "bayes.json"
TRAIN, TEST = range(0, 1 << 40), range(1 << 40, 1 << 41)
Pair = tuple[int, int]


@dataclass(frozen=True)
class Question:
    """What is p(target = 1 | given = value)?"""

    given: int
    value: int
    target: int


@dataclass(frozen=True, eq=False)
class BayesNet:
    """A directed graph and its tables: tables[i] has a 0/1 axis for each parent of i and holds p(X_i = 1)."""

    parents: tuple[tuple[int, ...], ...]
    tables: tuple[np.ndarray, ...]
    held_out: tuple[Pair, ...] = ()

    @property
    def size(self) -> int:
        return len(self.parents)

    @cached_property
    def graph(self) -> nx.DiGraph:
        graph = nx.DiGraph()
        graph.add_nodes_from(range(self.size))
        graph.add_edges_from(self.edges)
        return graph

    @property
    def edges(self) -> list[Pair]:
        """(parent, child), by child."""
        return [(p, i) for i, own in enumerate(self.parents) for p in own]

    @cached_property
    def order(self) -> list[int]:
        """Parents before children."""
        return list(nx.lexicographical_topological_sort(self.graph))

    def table(self, keep: Sequence[int], given: Mapping[int, int] | None = None) -> np.ndarray:
        """p(x_keep, given) with a 0/1 axis for each variable of `keep`, float64; other variables are summed out.

        Only ancestors of what is asked about matter: all tables below them sum to one.
        """
        known = given or {}
        needed = {*keep, *known}.union(*(nx.ancestors(self.graph, i) for i in (*keep, *known)))
        operands: list[Any] = []
        for i in sorted(needed):
            axes = (*self.parents[i], i)
            both = np.stack([1 - self.tables[i], self.tables[i]], axis=-1)
            operands += [both[tuple(known.get(a, slice(None)) for a in axes)], [a for a in axes if a not in known]]
        return np.asarray(np.einsum(*operands, list(keep), optimize="greedy"))

    def p(self, target: int, given: Mapping[int, int]) -> float:
        """p(X_target = 1 | given), exact; nan where `given` cannot happen."""
        if target in given:
            return float(given[target]) if self.table((), given) > 0 else float("nan")
        both = self.table((target,), given)
        return float(both[1] / both.sum()) if both.sum() > 0 else float("nan")

    def answer(self, q: Question) -> float:
        return self.p(q.target, {q.given: q.value})

    def information(self, a: int, b: int) -> float:
        """Mutual information of two variables in nats."""
        two = self.table((a, b))
        apart = two.sum(1, keepdims=True) * two.sum(0, keepdims=True)
        some = two > 0
        return float((two[some] * np.log(two[some] / apart[some])).sum())

    def sample(self, seed: int, n: int) -> np.ndarray:
        """n draws (n, variables) of 0 and 1, parents first; the seed says which."""
        rng = np.random.default_rng(seed)
        x = np.zeros((n, self.size), dtype=np.int64)
        for i in self.order:
            x[:, i] = rng.random(n) < self.tables[i][tuple(x[:, p] for p in self.parents[i])]
        return x

    @cached_property
    def distances(self) -> dict[int, dict[int, int]]:
        """Steps between variables along edges in either direction; unreachable ones are absent."""
        return dict(nx.all_pairs_shortest_path_length(self.graph.to_undirected()))

    def near(self, centre: int, radius: int) -> list[int]:
        """The neighbourhood of a variable: all within so many steps, itself included."""
        return sorted(i for i, far in self.distances[centre].items() if far <= radius)

    def moral(self, about: Sequence[int]) -> nx.Graph:
        """The moralised graph of these variables and all their ancestors: parents of one child are joined."""
        keep = set(about).union(*(nx.ancestors(self.graph, i) for i in about))
        out = self.graph.subgraph(keep).to_undirected()
        out.add_edges_from(p for i in keep for p in combinations(self.parents[i], 2))
        return out

    def separated(self, a: int, b: int, by: Sequence[int]) -> bool:
        """Are a and b independent whatever the tables, once `by` is known (d-separation)?"""
        moral = self.moral([a, b, *by])
        moral.remove_nodes_from(by)
        return not nx.has_path(moral, a, b)

    def scaffold(self, given: int, target: int) -> list[int]:
        """A smallest set of variables that separates the two, nearest to `given` first."""
        moral = self.moral([given, target])
        cut = nx.minimum_node_cut(moral, given, target) if nx.has_path(moral, given, target) else set()
        return sorted(cut, key=lambda i: (self.distances[given].get(i, self.size), i))

    @property
    def questions(self) -> list[Question]:
        """All questions on held-out pairs: both directions, both values that can happen."""
        ways = [way for a, b in self.held_out for way in ((a, b), (b, a))]
        return [Question(c, v, t) for c, t in ways for v in (0, 1)]

    @cached_property
    def layout(self) -> list[list[float]]:
        """A place in the unit square for each variable: the largest part fills it, the others stand below in a row."""
        whole = self.graph.to_undirected()
        parts = sorted(nx.connected_components(whole), key=lambda c: (-len(c), min(c)))
        main, rest = sorted(parts[0]), [i for part in parts[1:] for i in sorted(part)]
        spot = nx.kamada_kawai_layout(whole.subgraph(main))
        xy = _apart(np.array([spot[i] for i in main]), 0.17) * [1, 0.84 if rest else 1]
        at = dict(zip(main, xy.tolist(), strict=True))
        at |= {i: [(k + 0.5) / len(rest), 1.0] for k, i in enumerate(rest)}
        return [[round(v, 4) for v in at[i]] for i in range(self.size)]


def _apart(xy: np.ndarray, least: float) -> np.ndarray:
    """Places (n, 2) stretched over the unit square, those nearer than `least` pushed apart."""
    for _ in range(80):
        xy = (xy - xy.min(0)) / np.maximum(np.ptp(xy, axis=0), 1e-9)
        gap = xy[:, None] - xy
        far = np.linalg.norm(gap, axis=-1) + np.eye(len(xy))
        push = np.maximum(least - far, 0) / far
        xy = xy + 0.3 * (gap * push[..., None]).sum(1)
    return (xy - xy.min(0)) / np.maximum(np.ptp(xy, axis=0), 1e-9)


def random_net(seed: int, variables: int = VARIABLES, edges: int = EDGES) -> BayesNet:
    """A net as the paper draws it, with held-out pairs: a random half of those that tell most about one another."""
    rng = np.random.default_rng(seed)
    pairs = list(combinations(range(variables), 2))
    while True:
        drawn = [pairs[k] for k in rng.choice(len(pairs), edges, replace=False)]
        turned = [(b, a) if rng.random() < 0.5 else (a, b) for a, b in drawn]
        if nx.is_directed_acyclic_graph(nx.DiGraph(turned)):
            break
    parents = tuple(tuple(sorted(a for a, b in turned if b == i)) for i in range(variables))
    tables = tuple(rng.beta(0.2, 0.2, size=(2,) * len(own)) if own else np.array(rng.random()) for own in parents)
    net = BayesNet(parents, tables)
    best = sorted(_distant(net), key=lambda pair: -net.information(*pair))[:AMONG]
    chosen = sorted(rng.permutation(len(best))[:HELD_OUT])
    return BayesNet(parents, tables, tuple(best[k] for k in chosen))


def _distant(net: BayesNet) -> list[Pair]:
    """Pairs that are connected, at least APART edges apart, and can be separated by others."""
    far = [(a, b) for a, b in combinations(range(net.size), 2) if net.distances[a].get(b, 0) >= APART]
    return [(a, b) for a, b in far if not net.moral([a, b]).has_edge(a, b)]


def telling(net: BayesNet) -> float:
    """The least information of a held-out pair, nats."""
    return min(net.information(*pair) for pair in net.held_out)


def drawn() -> list[BayesNet]:
    """The NETS candidates whose held-out pairs tell most."""
    whole = [net for net in map(random_net, range(CANDIDATES)) if len(net.held_out) == HELD_OUT]
    return sorted(whole, key=lambda net: -telling(net))[:NETS]


@cache
def nets() -> tuple[BayesNet, ...]:
    """The stored nets, NETS of them."""
    return tuple(BayesNet(tuple(tuple(own) for own in net["parents"]),
                          tuple(np.array(table) for table in net["tables"]),
                          tuple((a, b) for a, b in net["held_out"])) for net in json.loads(STORED.read_text()))


@cache
def other(k: int) -> BayesNet:
    """A net whose neighbourhoods have nothing to do with net k: the next one of the list."""
    return nets()[(k + 1) % NETS]




def main() -> None:
    """Draw the nets and store them: parents, tables and held-out pairs of each."""
    stored = [{"parents": net.parents, "tables": [t.tolist() for t in net.tables], "held_out": net.held_out}
              for net in drawn()]
    STORED.write_text(json.dumps(stored, separators=(",", ":"), default=int) + "\n")


if __name__ == "__main__":
    main()
