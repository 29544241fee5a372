"""Beam search: no dice; after each evaluation the B most probable beginnings stay, all others are cut.

The textbook search for the most probable text, as `transformers` runs it with num_beams = B and length_penalty = 0:
a score is the sum of log p, so a text is never worth more for being longer. Temperature and filters have no part.

Each step scores every word after every live beginning and takes the 2B best in all. Of these the B best that go on
live; one that ends, and is among the first B, is finished. The search is over when B texts are finished and no live
one is worth more than the worst of them: further words only make a text less probable.

As events: the 2B are nodes on one cell, best first. What falls out is withdrawn (`prune`) with the branches that led
to it alone; a cell is committed as soon as all that are left agree on it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np

from engines.events import Begin, Commit, Event, Note, Phase, Propose, Steps, Withdraw
from engines.next_token import page
from engines.next_token.next_token import summary
from engines.noise import Noise
from engines.runtime import Meter
from engines.sampling import entropy, softmax, spoken
from engines.worlds.texts import Text

# (scores of all candidates, how many are wanted) -> their indices, best first.
Choose = Callable[[np.ndarray, int], np.ndarray]


def best(scores: np.ndarray, n: int) -> np.ndarray:
    """The n largest, in falling order; of equal ones the first. Tests and claims hand in a broken one."""
    return np.argsort(-scores, kind="stable")[:n]


@dataclass(eq=False)
class Node:
    """A word of the tree. text: from BOS to this word; score: the sum of log p of its path; law (V,): what p is of.

    ended: no word can follow.
    """

    text: list[int]
    score: float = 0.0
    p: float = 1.0
    law: np.ndarray | None = field(default=None, repr=False)
    path: tuple[Node, ...] = ()  # from the first word after those given to this one
    id: int = -1
    ended: bool = False

    @property
    def cell(self) -> int:
        return len(self.text) - 2


def beam(s: SimpleNamespace, noise: Noise, meter: Meter, choose: Choose = best) -> Steps:
    """Search for the most probable text. s: text, words, given, beams. Done tells all texts that were left."""
    kind, target = page.text_of(s), page.voice(s).target
    net = meter.net(target)
    net.session = net.session.beams(s.beams)
    root = Node(page.opening(s, noise))
    yield Begin(title="Beam search", canvases=[kind.canvas(kind.length)], nets=[meter.card(target, "target")],
                given=page.given(kind, root.text))
    live, finished, born, committed = [root], list[Node](), 0, 0
    shown: set[Node] = set()
    while live and page.open_(kind, live[0].text):
        cell, ahead = len(live[0].text) - 1, live[0]
        z = np.asarray(net([node.text for node in live], nfe=len(live)), dtype=np.float64)
        forward = page.forward(net, ahead.text, [cell], "step" if net.calls > 1 else "prefill")
        yield replace(forward, rows=len(live))
        yield Phase(unit="step", index=cell, state="start", cells=[cell])
        nodes = _grow(kind, live, softmax(z), 2 * s.beams, choose, born)
        born += len(nodes)
        yield Propose(cells=[cell] * len(nodes), values=[kind.words[n.text[-1]] for n in nodes], p=[n.p for n in nodes],
                      node=[n.id for n in nodes], score=[n.score for n in nodes],
                      parent=[n.path[-2].id if len(n.path) > committed + 1 else -1 for n in nodes])
        shown |= set(nodes)
        finished = _ranked(finished + [n for n in nodes[: s.beams] if n.ended])[: s.beams]
        live = [n for n in nodes if not n.ended][: s.beams]
        if len(finished) == s.beams and live and live[0].score <= finished[-1].score:
            live = []
        if live and ahead.path and ahead not in live[0].path:
            yield _overtaken(kind, ahead, live[0])
        shown = yield from _prune(shown, live + finished)
        committed = yield from _agree(kind, meter, live + finished, committed)
    stories = _ranked(live + finished)[: s.beams]
    yield _end(stories)
    yield from _prune(shown, stories[:1])
    yield from _agree(kind, meter, stories[:1], committed)
    told = [{"text": [kind.words[i] for i in n.text[1:]], "log_prob": n.score} for n in stories]
    return summary(kind, net, stories[0].text) | {"log_prob": stories[0].score, "stories": told}


def _grow(kind: Text, live: list[Node], laws: np.ndarray, n: int, choose: Choose, born: int) -> list[Node]:
    """The n best of all possible next words, laws (B, V), as new nodes in the order of their scores."""
    with np.errstate(divide="ignore"):
        scores = np.array([node.score for node in live])[:, None] + np.log(laws)
    possible = np.flatnonzero(np.isfinite(scores))
    out = []
    for i, index in enumerate(possible[choose(scores.ravel()[possible], n)]):
        row, word = divmod(int(index), laws.shape[1])
        node = Node([*live[row].text, word], float(scores[row, word]), float(laws[row, word]), laws[row], id=born + i,
                    ended=word == kind.end)
        node.path = (*live[row].path, node)
        out.append(node)
    return out


def _ranked(nodes: list[Node]) -> list[Node]:
    return sorted(nodes, key=lambda n: -n.score)


def _prune(shown: set[Node], left: list[Node]) -> Generator[Event, None, set[Node]]:
    """Take back every node that no beginning that is left goes through; returns those that stay."""
    used = {node for end in left for node in end.path}
    if gone := sorted(shown - used, key=lambda n: n.id):
        yield Withdraw(cells=[n.cell for n in gone], node=[n.id for n in gone], why="prune")
    return shown & used


def _agree(kind: Text, meter: Meter, left: list[Node], committed: int) -> Generator[Event, None, int]:
    """Commit the words that all that are left share; returns how many are written now."""
    shared = 0
    while all(len(n.path) > shared and n.path[shared] is left[0].path[shared] for n in left):
        shared += 1
    if agreed := left[0].path[committed:shared]:
        charts = [page.dists(kind, n.text[-1], model=n.law, truth=page.truth(kind, meter, n.text[:-1])) for n in agreed]
        known = [name for name in ("model", "truth") if all(name in c for c in charts)]
        yield Commit(cells=[n.cell for n in agreed], values=[kind.words[n.text[-1]] for n in agreed],
                     p=[n.p for n in agreed], entropy=[entropy(n.law) for n in agreed if n.law is not None],
                     origin="accepted", dists={name: [c[name][0] for c in charts] for name in known})
    return shared


def _overtaken(kind: Text, ahead: Node, now: Node) -> Note:
    """Another beginning than before is the most probable one: name the words where the two part."""
    old, new = next((a, b) for a, b in zip(ahead.path, now.path, strict=False) if a is not b)
    word, other = spoken(kind.words[new.text[-1]]), spoken(kind.words[old.text[-1]])
    return Note(key="beam.overtaken", args={"word": word, "other": other}, cells=[new.cell],
                text=f"The beginning with {word} overtakes the one with {other}: it is now the more probable one.")


def _end(stories: list[Node]) -> Note:
    """How alike the stories are that were left."""
    if len(stories) == 1:
        return Note(key="beam.greedy", text="One beam takes the likeliest word at each step, and never looks back.")
    texts = [story.text[-len(story.path) :] for story in stories]
    same = sum(len({text[i] for text in texts if i < len(text)}) == 1 for i in range(len(texts[0])))
    return Note(key="beam.end", args={"beams": len(texts), "same": same, "words": len(texts[0])},
                text=f"The {len(texts)} best stories found have {same} of {len(texts[0])} words in common. "
                "The most probable one is written.")
