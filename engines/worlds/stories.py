"""STORIES: small tales from a grammar that is also a finite automaton, so every probability is exact.

A story is drawn from the templates in `stories_grammar.py`. Hero, pronoun, place, thing and helper are
remembered and come back cells later, which is what makes far cells depend on one another. `compile_grammar`
turns the templates into a deterministic, acyclic, weighted automaton: it determinises by carrying the
distribution over template positions that a prefix leaves open, forgets memory that no later template reads,
and merges states with equal futures. Forward and backward sums over its edges (Rabiner 1989) then give
p(story), p(any cell | any visible cells), exact conditional samples, and total correlation (Watanabe 1960).
"""

import difflib
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from engines.errors import Refused
from engines.worlds import stories_grammar

VERSION = 1
PAD, END, BOS, MASK = 0, 1, 2, 3
SPECIALS = ("<pad>", "<end>", "<begin>", "<mask>")
LENGTH = 64
TRAIN = range(0, 10**9)
VALIDATION = range(10**9, 2 * 10**9)
TEST = range(2 * 10**9, 3 * 10**9)
HIDDEN = -1
MOST_BELIEFS = 2_000_000  # entries total_correlation may hold: about 100 MB and a few seconds

Item = tuple  # ("word", w) | ("choice", ((p, items), ...)) | ("rule", r) | ("read", var, attr) | ("bind", var)
Memory = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Grammar:
    """Templates, memory tables and draws, in the language that `stories_grammar` describes."""

    rules: dict[str, str]
    tables: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    draws: dict[str, tuple[str | None, dict[str, dict[str, float]]]] = field(default_factory=dict)
    start: str = "story"


_TOKEN = re.compile(r"\*[\d.]+|<\w+>|@\w+|\{\w+\.\w+\}|[a-z]+|[.,()|]")


def parse(template: str) -> tuple[Item, ...]:
    """A template as a sequence of items; choices nest. A stray sign raises ValueError."""
    if _TOKEN.sub("", template).strip():
        raise ValueError(f"cannot read template: {template!r}")
    tokens = _TOKEN.findall(template)
    items, at = _parse_sequence(tokens, 0)
    if at != len(tokens):
        raise ValueError(f"unbalanced template: {template!r}")
    return items


def _parse_sequence(tokens: list[str], at: int) -> tuple[tuple[Item, ...], int]:
    items: list[Item] = []
    while at < len(tokens) and tokens[at] not in ("|", ")") and tokens[at][0] != "*":
        token = tokens[at]
        at += 1
        if token == "(":
            options: list[tuple[float, tuple[Item, ...]]] = []
            while True:
                inner, at = _parse_sequence(tokens, at)
                weight = 1.0
                if tokens[at][0] == "*":
                    weight = float(tokens[at][1:])
                    at += 1
                options.append((weight, inner))
                at += 1
                if tokens[at - 1] == ")":
                    break
                if tokens[at - 1] != "|":
                    raise ValueError(f"expected | or ) before {tokens[at - 1]!r}")
            total = sum(weight for weight, _ in options)
            items.append(("choice", tuple((weight / total, inner) for weight, inner in options)))
        elif token[0] == "<":
            items.append(("rule", token[1:-1]))
        elif token[0] == "@":
            items.append(("bind", token[1:]))
        elif token[0] == "{":
            items.append(("read", *token[1:-1].split(".")))
        else:
            items.append(("word", token))
    return tuple(items), at


class _Expander:
    """Lazily expands (what is left to write, what is remembered) into weighted first words."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.rules = {name: parse(text) for name, text in grammar.rules.items()}
        self.attributes = {
            (var, value, attr): parse(text)
            for var, table in grammar.tables.items()
            for value, row in table.items()
            for attr, text in row.items()
        }
        self.cells: list[tuple[Item, int]] = []  # continuation k = (first item, rest); -1 is the end
        self.index: dict[tuple[Item, int], int] = {}
        self.live_of: dict[int, frozenset[str]] = {-1: frozenset()}
        self.reads_of: dict[Item, frozenset[str]] = {}
        self.nodes: list[tuple[int, Memory]] = []
        self.node_of: dict[tuple[int, Memory], int] = {}
        self.first_of: dict[int, tuple[tuple[float, str | None, int], ...]] = {}

    def push(self, items: tuple[Item, ...], rest: int) -> int:
        for item in reversed(items):
            key = (item, rest)
            if key not in self.index:
                self.index[key] = len(self.cells)
                self.cells.append(key)
            rest = self.index[key]
        return rest

    def reads(self, item: Item) -> frozenset[str]:
        """Variables that writing `item` may look up."""
        if item not in self.reads_of:
            kind = item[0]
            found: set[str] = set()
            if kind == "choice":
                inner = [i for _, items in item[1] for i in items]
            elif kind == "rule":
                inner = list(self.rules[item[1]])
            elif kind == "read":
                found.add(item[1])
                inner = [i for (var, _, attr), items in self.attributes.items() if (var, attr) == item[1:]
                         for i in items]
            else:
                inner = []
                if kind == "bind" and (parent := self.grammar.draws[item[1]][0]):
                    found.add(parent)
            self.reads_of[item] = frozenset(found.union(*(self.reads(i) for i in inner)))
        return self.reads_of[item]

    def live(self, rest: int) -> frozenset[str]:
        if rest not in self.live_of:
            item, after = self.cells[rest]
            later = self.live(after) - ({item[1]} if item[0] == "bind" else set())
            self.live_of[rest] = self.reads(item) | later
        return self.live_of[rest]

    def forget(self, rest: int, memory: Memory) -> Memory:
        live = self.live(rest)
        return tuple(pair for pair in memory if pair[0] in live)

    def node(self, rest: int, memory: Memory) -> int:
        """A number for (what is left to write, what of memory that still needs)."""
        key = (rest, self.forget(rest, memory))
        if key not in self.node_of:
            self.node_of[key] = len(self.nodes)
            self.nodes.append(key)
        return self.node_of[key]

    def first(self, node: int) -> tuple[tuple[float, str | None, int], ...]:
        """(probability, next word or None at the end, node after it) for every way to go on."""
        if node in self.first_of:
            return self.first_of[node]
        rest, memory = self.nodes[node]
        if rest == -1:
            self.first_of[node] = ((1.0, None, node),)
            return self.first_of[node]
        item, after = self.cells[rest]
        if item[0] == "word":
            self.first_of[node] = ((1.0, item[1], self.node(after, memory)),)
            return self.first_of[node]
        branches: list[tuple[float, int]] = []
        if item[0] == "choice":
            branches = [(p, self.node(self.push(items, after), memory)) for p, items in item[1]]
        elif item[0] == "rule":
            branches = [(1.0, self.node(self.push(self.rules[item[1]], after), memory))]
        elif item[0] == "read":
            text = self.attributes[item[1], dict(memory)[item[1]], item[2]]
            branches = [(1.0, self.node(self.push(text, after), memory))]
        else:
            parent, table = self.grammar.draws[item[1]]
            row = table[dict(memory)[parent] if parent else ""]
            total = sum(row.values())
            for value, weight in row.items():
                kept = {**dict(memory), item[1]: value}
                branches.append((weight / total, self.node(after, tuple(sorted(kept.items())))))
        out: dict[tuple[str | None, int], float] = {}
        for p, branch in branches:
            for q, word, target in self.first(branch):
                out[word, target] = out.get((word, target), 0.0) + p * q
        self.first_of[node] = tuple((p, word, target) for (word, target), p in out.items())
        return self.first_of[node]


def words_of(grammar: Grammar) -> list[str]:
    """Every word and sign that the grammar's templates can write, sorted, signs last."""
    found: set[str] = set()

    def collect(items: Iterable[Item]) -> None:
        for item in items:
            if item[0] == "word":
                found.add(item[1])
            elif item[0] == "choice":
                for _, inner in item[1]:
                    collect(inner)

    for text in grammar.rules.values():
        collect(parse(text))
    for table in grammar.tables.values():
        for row in table.values():
            for text in row.values():
                collect(parse(text))
    signs = [sign for sign in (".", ",") if sign in found]
    return sorted(found - {".", ","}) + signs


def compile_grammar(grammar: Grammar, vocab: Sequence[str]) -> "Automaton":
    """The deterministic automaton of `grammar`, merged, states numbered so that every edge goes upward.

    A state while building is a distribution over (what is left, memory): the weighted subset construction
    (Mohri 1997), which ends because templates do not recurse. Probabilities are rounded in keys only, so that
    equal distributions meet although they were summed in different orders.
    """
    expander = _Expander(grammar)
    ids = {word: k for k, word in enumerate(vocab)}
    start = expander.node(expander.push(expander.rules[grammar.start], -1), ())
    number: dict[tuple[tuple[int, float], ...], int] = {}
    queue: list[tuple[tuple[int, float], ...]] = [((start, 1.0),)]
    arcs: list[list[tuple[int, float, int]]] = []  # per state: (word, p, next); next -1 is the final state
    for state in queue:
        by_word: dict[int, dict[int, float]] = {}
        for node, weight in state:
            for p, word, target in expander.first(node):
                bucket = by_word.setdefault(END if word is None else ids[word], {})
                bucket[target] = bucket.get(target, 0.0) + weight * p
        row: list[tuple[int, float, int]] = []
        for word_id, bucket in sorted(by_word.items()):
            total = sum(bucket.values())
            if word_id == END:
                row.append((word_id, total, -1))
                continue
            after = tuple(sorted((target, w / total) for target, w in bucket.items()))
            rounded = tuple((target, round(w, 9)) for target, w in after)
            if rounded not in number:
                number[rounded] = len(queue)
                queue.append(after)
            row.append((word_id, total, number[rounded]))
        arcs.append(row)
    return Automaton.of_arcs(_merge(arcs), len(vocab))


def _merge(arcs: list[list[tuple[int, float, int]]]) -> list[list[tuple[int, float, int]]]:
    """The same language and probabilities with states of equal future made one; final state last."""
    order: list[int] = []
    seen = [False] * len(arcs)
    stack: list[tuple[int, int]] = [(0, 0)]
    seen[0] = True
    while stack:  # depth first, written out: recursion would be as deep as the story is long
        state, at = stack.pop()
        if at == len(arcs[state]):
            order.append(state)
            continue
        stack.append((state, at + 1))
        after = arcs[state][at][2]
        if after >= 0 and not seen[after]:
            seen[after] = True
            stack.append((after, 0))
    class_of: dict[tuple, int] = {}
    place: dict[int, int] = {-1: -1}
    kept: list[list[tuple[int, float, int]]] = []
    for state in order:  # children come before parents
        row = [(word, p, place[after]) for word, p, after in arcs[state]]
        key = tuple((word, round(p, 9), after) for word, p, after in row)
        if key not in class_of:
            class_of[key] = len(kept)
            kept.append(row)
        place[state] = class_of[key]
    last = len(kept)  # turn around: start becomes 0, the final state the last number
    return [[(w, p, last if a < 0 else last - 1 - a) for w, p, a in row] for row in reversed(kept)]


class Automaton:
    """Exact answers about stories. State 0 begins, the last state is the end, where only PAD follows.

    Arrays named `visible` hold a word id per cell, or -1 where the cell is hidden. All answers are about
    stories that are finished (END written) within the n cells handed in; with 64 cells that is every story.
    """

    @classmethod
    def of_arcs(cls, arcs: list[list[tuple[int, float, int]]], vocab_size: int) -> "Automaton":
        """From (word, p, next) per state, the end left out."""
        rows = [*arcs, [(PAD, 1.0, len(arcs))]]
        return cls(np.cumsum([0, *(len(row) for row in rows)]), np.array([w for row in rows for w, _, _ in row]),
                   np.array([p for row in rows for _, p, _ in row]), np.array([d for row in rows for _, _, d in row]),
                   vocab_size)

    def __init__(self, first_edge: np.ndarray, word: np.ndarray, p: np.ndarray, dst: np.ndarray, vocab_size: int):
        """Edges in the order of their states: state s owns first_edge[s] to first_edge[s + 1]."""
        self.states = len(first_edge) - 1
        self.final = self.states - 1
        self.vocab_size = vocab_size
        self.first_edge, self.word, self.dst = (a.astype(np.int64) for a in (first_edge, word, dst))
        self.src = np.repeat(np.arange(self.states), np.diff(self.first_edge))
        self.p = p / np.bincount(self.src, p, self.states)[self.src]
        self._chain = lru_cache(maxsize=2)(self._chain_of)
        self.key = self.src * vocab_size + self.word  # increasing: rows are in state order, words sorted
        running = np.cumsum(self.p)
        before = np.concatenate([[0.0], running])[self.first_edge[self.src]]
        self.cdf = self.src + np.minimum(running - before, 1.0)
        self.cdf[self.first_edge[1:] - 1] = np.arange(self.states) + 1.0
        self._expectations()

    def _expectations(self) -> None:
        """Nats and cells still to come from each state, from the end backwards."""
        nats = np.zeros(self.states)
        cells = np.zeros(self.states)
        low = np.full(self.states, 0)
        high = np.full(self.states, 0)
        surprise = -np.log(self.p)
        for state in range(self.final - 1, -1, -1):
            edges = slice(self.first_edge[state], self.first_edge[state + 1])
            after = self.dst[edges]
            nats[state] = self.p[edges] @ (surprise[edges] + nats[after])
            cells[state] = 1.0 + self.p[edges] @ cells[after]
            low[state] = 1 + low[after].min()
            high[state] = 1 + high[after].max()
        self._nats, self._cells = nats, cells
        self.shortest, self.longest = int(low[0]), int(high[0])  # cells, END counted

    # --- whole stories

    def entropy(self) -> float:
        """Nats per story."""
        return float(self._nats[0])

    def mean_length(self) -> float:
        """Expected cells per story, END counted, as every cell is one prediction."""
        return float(self._cells[0])

    def _step(self, state: np.ndarray, word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(edge, whether there is one) from each state along each word; -1 and BOS, MASK have none."""
        wanted = state * self.vocab_size + word
        edge = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        return edge, (self.key[edge] == wanted) & (word >= 0) & (word < self.vocab_size)

    def log_probs(self, ids: np.ndarray) -> np.ndarray:
        """log p of each row of (B, n) finished stories, PAD allowed after END; -inf if not a story. Nats."""
        ids = np.asarray(ids, dtype=np.int64)
        state = np.zeros(len(ids), dtype=np.int64)
        total = np.zeros(len(ids))
        for column in ids.T:
            edge, found = self._step(state, column)
            total = np.where(found, total + np.log(self.p[edge]), -np.inf)
            state = np.where(found, self.dst[edge], state)
        return np.where(state == self.final, total, -np.inf)

    def log_prob(self, ids: Sequence[int] | np.ndarray) -> float:
        """log p of one story (n,) with its END; -inf if it is not a story. Nats."""
        return float(self.log_probs(np.asarray(ids, dtype=np.int64)[None])[0])

    def is_valid(self, ids: Sequence[int] | np.ndarray) -> bool:
        """Whether ids, with END, is a story of the grammar."""
        return bool(np.isfinite(self.log_prob(ids)))

    def next_distribution(self, prefix: Sequence[int] | np.ndarray) -> np.ndarray:
        """p(next cell | prefix), (V,); all zero when no story begins with the prefix."""
        out = np.zeros(self.vocab_size)
        state = np.array([0])
        for word in prefix:
            edge, found = self._step(state, np.array([word]))
            if not found[0]:
                return out
            state = self.dst[edge]
        edges = slice(self.first_edge[state[0]], self.first_edge[state[0] + 1])
        out[self.word[edges]] = self.p[edges]
        return out

    def sample(self, seeds: Sequence[int] | np.ndarray, length: int = LENGTH) -> np.ndarray:
        """(B, length) stories, PAD after END; row b depends on seeds[b] alone."""
        seeds = np.asarray(seeds, dtype=np.int64)
        out = np.full((len(seeds), length), PAD, dtype=np.int64)
        state = np.zeros(len(seeds), dtype=np.int64)
        for cell in range(length):
            # side="right": a draw exactly on a step belongs to the next word
            edge = np.searchsorted(self.cdf, state + uniform(seeds, cell), side="right")
            edge = np.minimum(edge, self.first_edge[state + 1] - 1)
            out[:, cell] = self.word[edge]
            state = self.dst[edge]
        return out

    # --- some cells visible, some hidden

    def _edges_from(self, states: np.ndarray) -> np.ndarray:
        counts = self.first_edge[states + 1] - self.first_edge[states]
        starts = np.repeat(self.first_edge[states] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        return starts + np.arange(counts.sum())

    def _lattice(self, visible: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
        """Edges of each cell that agree with `visible`, p(later visible | state after each), log scales.

        Returns (edges[i], after[i], scale): after[i] is aligned with edges[i] and the product of
        p(edge) * after is a backward sum divided by the scales of the later cells. Empty where impossible.
        """
        edges: list[np.ndarray] = []
        states = np.array([0])
        for word in visible:
            here = self._edges_from(states)
            if word != HIDDEN:
                here = here[self.word[here] == word]
            edges.append(here)
            mark = np.zeros(self.states, dtype=bool)
            mark[self.dst[here]] = True
            states = np.flatnonzero(mark)
        beta: np.ndarray = np.zeros(self.states)
        beta[self.final] = 1.0
        after: list[np.ndarray] = [np.empty(0)] * len(edges)
        scales = [0.0] * len(edges)
        for cell in range(len(edges) - 1, -1, -1):
            here = edges[cell]
            value = beta[self.dst[here]]
            keep = value > 0
            edges[cell], after[cell] = here[keep], value[keep]
            here = edges[cell]
            beta = np.bincount(self.src[here], self.p[here] * after[cell], self.states)
            top = beta.max()
            if top == 0.0:
                return [], [], [-np.inf]
            beta = beta / top
            scales[cell] = float(np.log(top))
        return edges, after, [*scales, float(np.log(beta[0])) if beta[0] > 0 else -np.inf]

    def log_prob_visible(self, visible: Sequence[int] | np.ndarray) -> float:
        """log p(the visible cells), hidden ones summed out, nats; -inf if no story agrees.

        The exact surprise of the blanks is log_prob_visible(visible) - log_prob(full).
        """
        return float(sum(self._lattice(np.asarray(visible, dtype=np.int64))[2]))

    def _posterior(self, visible: Sequence[int] | np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Edges of each cell and p(edge | state before it, all visible cells): a Markov chain.

        The last two pages are kept: several questions are asked about one page, by lanes that start on the same.
        """
        return self._chain(np.asarray(visible, dtype=np.int64).tobytes())

    def _chain_of(self, visible: bytes) -> tuple[list[np.ndarray], list[np.ndarray]]:
        edges, after, scales = self._lattice(np.frombuffer(visible, dtype=np.int64))
        if not np.isfinite(sum(scales)):
            raise Refused("No story agrees with these cells.", field="visible")
        chances = []
        for here, later in zip(edges, after, strict=True):
            weight = self.p[here] * later
            total = np.bincount(self.src[here], weight, self.states)
            chances.append(weight / total[self.src[here]])
        return edges, chances

    def marginals(self, visible: Sequence[int] | np.ndarray) -> np.ndarray:
        """p(cell | all visible cells), (n, V); visible cells get a one. Refused if no story agrees."""
        edges, chances = self._posterior(visible)
        alpha: np.ndarray = np.zeros(self.states)
        alpha[0] = 1.0
        out = np.zeros((len(edges), self.vocab_size))
        for cell, (here, chance) in enumerate(zip(edges, chances, strict=True)):
            mass = alpha[self.src[here]] * chance
            out[cell] = np.bincount(self.word[here], mass, self.vocab_size)
            alpha = np.bincount(self.dst[here], mass, self.states)
        return out

    def sample_given(self, visible: Sequence[int] | np.ndarray, uniforms: Sequence[float] | np.ndarray) -> np.ndarray:
        """An exact sample (n,) of all cells given the visible ones; cell i uses uniforms[i] in [0, 1)."""
        edges, chances = self._posterior(visible)
        out = np.empty(len(edges), dtype=np.int64)
        state = 0
        for cell, (here, chance) in enumerate(zip(edges, chances, strict=True)):
            low, high = np.searchsorted(self.src[here], [state, state + 1])  # edges are in state order
            pick = np.searchsorted(np.cumsum(chance[low:high]), uniforms[cell], side="right")
            edge = here[min(low + pick, high - 1)]
            out[cell] = self.word[edge]
            state = self.dst[edge]
        return out

    def joint_entropy(self, visible: Sequence[int] | np.ndarray, cells: Sequence[int]) -> float:
        """H(the named cells together | visible), nats, all other hidden cells summed out.

        Walks the posterior chain once, keeping for every distinct history of the named cells the distribution
        over states (its belief). Histories with equal beliefs have equal futures and are added together.
        """
        edges, chances = self._posterior(visible)
        wanted = set(cells)
        # two fixed random signatures stand for a belief; equal beliefs agree in both to rounding
        signature = np.random.default_rng(0).random((2, self.states))
        belief = np.array([0])
        state = np.array([0])
        mass = np.array([1.0])
        nats = 0.0
        for cell in range(max(wanted, default=-1) + 1):
            here = edges[cell]
            low = np.searchsorted(self.src[here], state)
            count = np.searchsorted(self.src[here], state, side="right") - low
            if count.sum() > MOST_BELIEFS:
                raise Refused("These cells can be filled in too many ways to count; name fewer.", field="cells")
            starts = np.repeat(low - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
            chosen = starts + np.arange(count.sum())
            mass = np.repeat(mass, count) * chances[cell][chosen]
            belief = np.repeat(belief, count)
            state = self.dst[here[chosen]]
            if cell in wanted:
                rows = int(belief.max()) + 1
                before = np.bincount(belief, mass, rows)
                split, label = np.unique(belief * self.vocab_size + self.word[here[chosen]], return_inverse=True)
                parts = np.bincount(label, mass)
                nats -= float(np.sum(parts * np.log(parts / before[split // self.vocab_size])))
                belief = label
            pair, label = np.unique(belief * self.states + state, return_inverse=True)
            mass = np.bincount(label, mass)
            belief, state = pair // self.states, pair % self.states
            if cell in wanted:
                rows = int(belief.max()) + 1
                total = np.bincount(belief, mass, rows)
                marks = [np.round(np.bincount(belief, mass * s[state], rows) / total, 10) for s in signature]
                _, same = np.unique(np.stack(marks), axis=1, return_inverse=True)
                pair, label = np.unique(same.reshape(-1)[belief] * self.states + state, return_inverse=True)
                mass = np.bincount(label, mass)
                belief, state = pair // self.states, pair % self.states
        return nats

    def total_correlation(self, visible: Sequence[int] | np.ndarray, cells: Sequence[int]) -> float:
        """sum_i H(cell_i | visible) - H(cells | visible), nats: what filling them independently must lose."""
        rows = self.marginals(visible)[sorted(set(cells))]
        alone = -float(np.sum(rows * np.log(np.where(rows > 0, rows, 1.0))))
        return max(0.0, alone - self.joint_entropy(visible, cells))  # rounding alone goes below zero


# --- the world

GRAMMAR = Grammar(stories_grammar.RULES, stories_grammar.TABLES, stories_grammar.DRAWS)
VOCAB: tuple[str, ...] = (*SPECIALS, *words_of(GRAMMAR))
_ID = {word: k for k, word in enumerate(VOCAB)}


COMPILED = Path(__file__).parent.parent.parent / "assets" / "worlds" / "stories.npz"


def grammar_digest() -> str:
    """What a stored automaton must carry to be believed: all of the grammar, and the version of its compiler."""
    whole = json.dumps([VERSION, GRAMMAR.rules, GRAMMAR.tables, GRAMMAR.draws], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


@lru_cache(maxsize=1)
def automaton() -> Automaton:
    """The automaton of STORIES: from its file if that was compiled from this very grammar, else compiled (seconds)."""
    try:
        with np.load(COMPILED, allow_pickle=False) as stored:
            if str(stored["grammar"]) == grammar_digest():
                return Automaton(stored["first_edge"], stored["word"], stored["p"], stored["dst"], len(VOCAB))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        pass  # the file only saves time; the grammar itself is the truth
    return compile_grammar(GRAMMAR, VOCAB)


def store() -> None:
    """Write the compiled automaton, so that nobody has to wait for it."""
    a = compile_grammar(GRAMMAR, VOCAB)
    COMPILED.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(COMPILED, grammar=grammar_digest(), first_edge=a.first_edge.astype(np.uint32),
                        word=a.word.astype(np.uint16), p=a.p, dst=a.dst.astype(np.uint32))


def sample(seeds: Sequence[int] | np.ndarray) -> np.ndarray:
    """(B, 64) int64 stories; story b depends on seeds[b] alone. Take seeds from TRAIN, VALIDATION or TEST."""
    return automaton().sample(seeds)


def uniform(seeds: np.ndarray, step: int) -> np.ndarray:
    """One number in [0, 1) per seed at a step: splitmix64 (Steele, Lea and Flood 2014), counter form."""
    with np.errstate(over="ignore"):  # wrapping at 2**64 is the method
        stream = _mix(seeds.astype(np.uint64) + np.uint64(0x5851F42D4C957F2D * VERSION % 2**64))
        bits = _mix(stream + np.uint64((step + 1) * 0x9E3779B97F4A7C15 % 2**64))
    return (bits >> np.uint64(11)) * 2.0**-53


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def nearest(word: str, count: int = 3) -> list[str]:
    """The vocabulary words most like `word` in spelling."""
    words = [w for w in VOCAB[len(SPECIALS):] if w.isalpha()]
    return difflib.get_close_matches(word.lower(), words, n=count, cutoff=0.0)


def encode(text: str) -> list[int]:
    """Word ids of text, without END. An unknown word is refused with the three nearest known ones."""
    ids = []
    for piece in re.findall(r"[.,]|[^\s.,]+", text.lower()):
        if piece not in _ID or piece in SPECIALS:
            near = ", ".join(nearest(piece))
            raise Refused(f"The stories do not know the word '{piece[:40]}'. Nearest: {near}.", field="text")
        ids.append(_ID[piece])
    return ids


def decode(ids: Iterable[int]) -> str:
    """Text of ids up to END, with no space before a comma or full stop; a MASK shows as '_'."""
    text = ""
    for k in ids:
        if k == END:
            break
        if k in (PAD, BOS):
            continue
        word = "_" if k == MASK else VOCAB[k]
        text += word if not text or word in (".", ",") else " " + word
    return text
