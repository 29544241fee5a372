"""Graphs say what torch says: step by step through whole runs, and the runs write the same."""

import copy
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from engines import backends, catalog, weights
from engines.errors import BadWeights, UnfoldError
from engines.events import Commit, Done, Event
from engines.exhibit import Choice
from engines.runtime import lane_of, run
from engines.tokenizers.model import Continuous
from engines.worlds import judges, scenes

GRAPHS = weights.graphs()
RUN = [name for name in GRAPHS if not name.startswith("scenes/")]  # judges read pictures, no lane decodes with them
EQUAL = 1e-4


def whole(name: str) -> str:
    return name.partition(".")[0]


def first_user(name: str) -> tuple[str, dict[str, Any], str]:
    """An exhibit, settings and a lane that decode with this network; a tokenizer's lane uses its sketch too."""
    for slug, exhibit in catalog.EXHIBITS.items():
        chosen = [{s.name: value} for s in exhibit.settings if isinstance(s, Choice) for value in s.choices]
        for settings in ({}, *chosen):
            for lane in exhibit.lanes:
                taken, own = lane_of(exhibit, lane, exhibit.parse(settings))
                if whole(name).removesuffix("_sketch") in taken.nets(own):
                    return slug, settings, lane
    raise LookupError(f"nobody decodes with {name}")


class Beside:
    """Evaluates the graph, and torch beside it, and remembers the largest difference."""

    def __init__(self, graph: backends.Graph, step: Callable[..., Any]):
        self.graph, self.step, self.worst, self.calls = graph, step, 0.0, 0

    def __call__(self, *inputs: Tensor) -> Any:
        want, got = self.step(*inputs), self.graph(*inputs)
        for a, b in zip(want if isinstance(want, tuple) else (want,), got if isinstance(got, tuple) else (got,)):
            seen = torch.isfinite(a)
            assert torch.equal(seen, torch.isfinite(b))
            self.worst = max(self.worst, float((a - b)[seen].abs().max()))
        self.calls += self.graph.fits(inputs)
        return got


def steps(name: str, seed: int, step: Any = None) -> Iterator[Event]:
    """A run with this network evaluated by step, and the others by torch."""
    slug, settings, lane = first_user(name)

    def provide(net: str) -> Any:
        return weights.bind(weights.load(net), **{name.partition(".")[2] or "step": step} if net == whole(name) else {})

    return run(slug, settings, seed, lanes=[lane], nets=provide, quiet=True)


def written(events: Iterator[Event]) -> list[tuple[Any, ...]]:
    """What a run does and writes, without the probabilities."""
    out = list(events)
    assert isinstance(out[-1], Done) and out[-1].reason == "finished"
    return [(e.kind, getattr(e, "cells", None), *((e.values, e.origin) if isinstance(e, Commit) else ())) for e in out]


def same(a: Any, b: Any) -> bool:
    """Equal, plain numbers up to what the networks may differ by and a digit of their rounding."""
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return abs(a - b) <= 2 * EQUAL if isinstance(a, float) and isinstance(b, float) else bool(a == b)


def test_what_is_written_is_compared_number_by_number() -> None:
    assert same([("commit", [[0, 2]], [[0.5, 0.1], [3, "the"]])], [("commit", [[0, 2]], [[0.5001, 0.1], [3, "the"]])])
    for other in ([("commit", [[0.501, 1]])], [("commit", [[0.5, 2]])], [("commit", [[0.5]])], [("phase", [[0.5, 1]])]):
        assert not same([("commit", [[0.5, 1]])], other)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", RUN)
def test_a_run_by_graph_is_the_run_by_torch(name: str, seed: int) -> None:
    graph = weights.graph(name)
    assert graph is not None
    beside = Beside(graph, graph.step)
    got = written(steps(name, seed, beside))
    assert beside.calls and beside.worst <= EQUAL
    assert same(got, written(steps(name, seed)))


@pytest.mark.parametrize("name", RUN)
def test_a_graph_over_other_tensors_is_caught(name: str) -> None:
    network = weights.module(name)
    other = copy.deepcopy(network)
    for parameter in other.parameters():
        parameter *= 1.02
    beside = Beside(backends.load(other, weights.graph_path(name)), cast(Any, network).step)
    assert any(beside.calls and beside.worst > EQUAL for _ in steps(name, 1, beside))


@pytest.mark.parametrize("name", RUN)
def test_a_session_takes_the_graph(name: str) -> None:
    taken, plain = weights.session(whole(name)), weights.bind(weights.load(whole(name)))
    if part := name.partition(".")[2]:
        taken, plain = getattr(taken, part), getattr(plain, part)
    assert taken.step is weights.graph(name)
    assert plain.step != weights.graph(name)


@pytest.mark.parametrize("rows", [1, 2, 40])
def test_a_judge_by_graph_reads_what_torch_reads(rows: int) -> None:
    pictures, judge = scenes.draw(scenes.TEST[:rows]).image, judges.load("scoring")
    by_graph, by_torch = judges.read(pictures), judges.read(pictures, judge)
    assert all(torch.equal(a, b) for a, b in zip(by_graph[:3], by_torch[:3], strict=True))
    other = copy.deepcopy(judge)
    for parameter in other.parameters():
        parameter *= 1.02
    wrong = backends.load(other, weights.graph_path("scenes/judge_scoring"))
    with torch.inference_mode():
        said = judge(pictures)
        assert torch.allclose(judges.reader()(pictures), said, atol=EQUAL)
        assert not torch.allclose(wrong(pictures), said, atol=EQUAL)


def test_what_is_exported_is_the_step_and_fits_what_is_learnt_later(tmp_path: Path) -> None:
    def tiny(seed: int) -> Continuous:
        torch.manual_seed(seed)
        return Continuous([8, 8], 1, 4, 4, 2, 4).eval().requires_grad_(False)

    path = tmp_path / "tokenizers" / "tiny.onnx"
    path.parent.mkdir()
    path.write_bytes(backends.export(tiny(0)))
    # No weights inside.
    assert not any(x.numpy().tobytes() in path.read_bytes() for x in tiny(0).parameters() if x.numel() > 64)
    latents = torch.randn(1, 4, 4, 4)
    for network in (tiny(0), tiny(1)):
        assert torch.allclose(backends.load(network, path)(latents), network.step(latents), atol=EQUAL)


def test_without_the_exporter_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UnfoldError, match="onnx") as error:
        backends.export(weights.load("tokenizers/vq"))
    assert "requirements-dev" in error.value.fix


def test_threads_do_not_disturb_each_other() -> None:
    graph = weights.graph("tokenizers/scales")
    assert graph is not None
    example, = graph.step.__self__.example()  # type: ignore[attr-defined]
    asked = [torch.randn(example.shape, generator=torch.Generator().manual_seed(i)) for i in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(graph, asked))
    assert all(torch.equal(graph(x), y) for x, y in zip(asked, together, strict=True))


def test_inputs_of_another_shape_go_to_torch() -> None:
    graph = weights.graph("tokenizers/scales")
    assert graph is not None
    three = torch.randn(3, *graph.inputs[0][1][1:])
    with torch.inference_mode():
        assert torch.equal(graph(three), graph.step(three))


@pytest.mark.parametrize("cut", [0, 100, 10_000])
def test_a_damaged_graph_is_refused_in_one_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "tokenizers" / "scales.onnx"
    path.parent.mkdir()
    path.write_bytes(weights.graph_path("tokenizers/scales").read_bytes()[:cut])
    with pytest.raises(BadWeights, match="engines export tokenizers/scales") as error:
        backends.load(weights.load("tokenizers/scales"), path)
    assert "\n" not in str(error.value)


def test_the_graph_of_another_network_is_refused() -> None:
    with pytest.raises(BadWeights, match="another network"):
        backends.load(weights.load("tokenizers/vq"), weights.graph_path("tokenizers/scales"))
    # The same tensors, another configuration.
    network = copy.copy(weights.load("tokenizers/scales"))
    network.__dict__["config"] = {**network.config, "groups": 2}
    with pytest.raises(BadWeights, match="another network"):
        backends.load(network, weights.graph_path("tokenizers/scales"))
