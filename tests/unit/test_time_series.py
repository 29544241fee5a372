"""The room of kvae: networks, lanes, scores, claims and recipes, on small networks that have learned nothing."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from engines import events as ev
from engines import training
from engines.errors import Refused
from engines.nn import count_parameters
from engines.noise import Noise
from engines.runtime import measure, run
from engines.time_series import canvas, scores, train
from engines.time_series.exhibits import KVAE
from engines.time_series.gru import GRU
from engines.time_series.linear import examples
from engines.time_series.model import PRIORS, Network
from engines.worlds import series

LANES = list(KVAE.lanes)


@pytest.fixture(scope="module")
def built() -> dict[str, Network]:
    torch.manual_seed(3)
    return {name: recipe.build().eval().requires_grad_(False) for name, recipe in train.RECIPES.items()}


@pytest.fixture(scope="module")
def nets(built):
    return lambda name: built[name].session()


def of(nets, lane: str, seed: int = 5, **settings) -> list[ev.Event]:
    return list(run(KVAE, settings, seed, lanes=[lane], nets=nets))


def latents(events: list[ev.Event]) -> np.ndarray:
    shape = events[0].canvases[0]
    out = np.zeros((shape["rows"] * shape["shape"][0], shape["shape"][1]))
    for e in events:
        if isinstance(e, ev.Commit) and e.canvas is None:
            out[ev.expand(e.cells)] = e.values
    return out.reshape(shape["rows"], *shape["shape"])


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("settings", [{}, {"samples": 1, "steps": 12, "noise": 0.0, "previews": False},
                                      {"trained": "holes-70", "steps": 48, "samples": 3}])
def test_a_run_keeps_the_rules_and_fills_every_cell(nets, lane, settings):
    events = of(nets, lane, **settings)
    ev.check(events)
    assert events[-1].reason == "finished"
    steps, rows = settings.get("steps", 24), settings.get("samples", 6)
    x = canvas.runs_of(events)
    assert x.shape == (rows, steps, 2) and ((x > 0) & (x < 1)).all()
    looks = [e for e in events if isinstance(e, ev.Preview) and e.name == "series"]
    assert bool(looks) is settings.get("previews", True)
    assert all(e.shape == [rows, e.level + 1, 2] for e in looks)


def test_calls_are_what_each_prior_needs(nets):
    """The matrix: one reading of real series and one decoder, whatever the length. The GRU: one more a step."""
    assert [of(nets, "linear", steps=n)[-1].summary["calls"] for n in (12, 48)] == [2, 2]
    assert [of(nets, "gru", steps=n)[-1].summary["calls"] for n in (12, 48)] == [13, 49]
    for lane in LANES:
        events = of(nets, lane, steps=12)
        assert events[0].canvases[0]["calls"] == events[-1].summary["calls"], "and each lane says so first"


def test_the_gru_lane_is_the_walk_of_the_network(nets, built):
    settings = KVAE.parse({"samples": 3, "steps": 12})
    noise = Noise(5)
    e = np.stack([canvas.epsilon(settings, noise, t, train.LATENT) for t in range(12)], axis=1)
    with torch.no_grad():
        z = built[GRU].walk(torch.from_numpy(e).float())[2]
        x = built[GRU].decode(z)
    events = of(nets, "gru", samples=3, steps=12)
    assert np.allclose(latents(events), z.numpy(), atol=1e-4)
    assert np.allclose(canvas.runs_of(events), x.numpy(), atol=1e-4)
    assert not np.allclose(latents(of(nets, "gru", seed=6, samples=3, steps=12)), z.numpy(), atol=1e-2)


@pytest.mark.parametrize("lane", LANES)
def test_more_and_longer_series_leave_the_others_as_they_are(nets, lane):
    few = latents(of(nets, lane, samples=2, steps=12))
    many = latents(of(nets, lane, samples=5, steps=24))
    assert np.allclose(many[:2, :12], few, atol=2e-4)
    assert not np.allclose(many[2], many[1], atol=0.1)


def test_reseeding_changes_what_comes_after_it_only(nets):
    plain = of(nets, "gru")
    after = next(e.n for e in plain if isinstance(e, ev.Phase) and e.index == 10)
    change = {"do": "reseed", "lane": "gru", "seed": 77, "after": after}
    other = list(run(KVAE, {}, 5, [change], lanes=["gru"], nets=nets))
    a, b = latents(plain), latents(other)
    assert np.array_equal(a[:, :10], b[:, :10]) and not np.allclose(a[:, 10], b[:, 10])


@pytest.mark.parametrize(("settings", "said"), [
    ({"steps": 97}, "from 12 to 96"), ({"samples": 0}, "from 1 to 64"), ({"trained": "holes-31"}, "one of linear"),
    ({"noise": -0.1}, "from 0 to 1.5"),
])
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(Refused, match=said):
        run(KVAE, settings)


def test_networks_that_are_compared_are_of_one_size():
    counts = [count_parameters(recipe.build()) for recipe in train.RECIPES.values()]
    assert max(counts) / min(counts) < 1.05


def test_no_parameter_is_the_operator_and_holes_are_read_by_the_equation(built):
    """A is solved: only a matrix between latents could hold it, and none has that shape."""
    for name, net in built.items():
        shapes = [tuple(p.shape) for p in net.parameters()]
        assert (train.LATENT, train.LATENT) not in shapes
        assert (net.encoder.cde is not None) is ("holes" in name)
    assert len(examples(0.5)) == 2 and len(examples(0.0)) == 1


def test_the_matrix_comes_from_what_the_encoder_makes_of_the_series(built):
    def spectrum(net):
        events = list(run(KVAE, {"samples": 1, "steps": 12}, 5, lanes=["linear"], nets=lambda _: net.session()))
        return np.array(next(e for e in events if isinstance(e, ev.Commit) and e.canvas == canvas.SPECTRUM).values)

    net = built["time_series/linear"]
    other = type(net)(**net.config).eval()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        other.mean.weight.mul_(5)
    assert not np.allclose(spectrum(net), spectrum(other), atol=0.02)


def test_a_classifier_is_lost_between_real_series_and_knows_noise():
    real, more = (series.pendulum(range(first, first + 400), 24) for first in (0, 1_000))
    still = series.pendulum(range(400), 24).mean(1, keepdims=True).repeat(24, axis=1)
    assert scores.discriminative(real, more, 0, steps=120) < 0.12
    assert scores.discriminative(real, still, 0, steps=120) > 0.35
    good, bad = (scores.predictive(real, x, 0, steps=150) for x in (more, np.ascontiguousarray(real[:, ::-1])))
    assert good < 0.6 * bad, "a pendulum that runs backwards teaches the wrong speed"


def test_the_constraint_claim_falls_when_both_networks_are_the_free_one(built):
    def same(name):
        return built["time_series/linear"].session()

    *_, result = measure(KVAE, effort=0.1, claims=["constraint-moves-spectrum"], nets=same)
    assert result["final"] and result["holds"] is False and result["here"] == pytest.approx(1)


def test_every_claim_measures_and_a_flat_judge_says_no_difference(nets):
    for name in ("discriminative-score", "predictive-score", "irregular-30-50-70"):
        *_, result = measure(KVAE, effort=0.05, claims=[name], nets=nets, subject=lambda real, made, seed: 0.25)
        assert result["here"] == 0 and result["holds"] is not True and len(result["points"]) >= 5
    *_, result = measure(KVAE, effort=0.1, claims=["prior-rollout-vs-gru"], nets=nets)
    assert result["points"][0]["y"] == pytest.approx(1, abs=0.1), "real series swing as far as others"
    assert result["points"][2]["y"] < 0.8 * result["points"][0]["y"], "networks that learned nothing hardly swing"
    period = 2 * math.pi / series.angle_per_step(0.9)
    assert result["points"][0]["steps_a_swing"] == pytest.approx(period, rel=0.1)


def test_swing_left_reads_what_it_says():
    t = np.arange(96)
    wave = np.sin(0.3 * t)[None, :, None]
    assert canvas.swing_left(wave) == pytest.approx(1, abs=0.05)
    assert canvas.swing_left(wave * 0.97 ** t[None, :, None]) == pytest.approx(0.97**72, rel=0.25)


@pytest.mark.parametrize("name", list(train.RECIPES))
def test_a_recipe_learns_for_two_seconds(name, tmp_path):
    """On a smaller network of the same kind: eight steps lower its loss, and it is judged as it is stored."""
    recipe = train.RECIPES[name]
    prior = PRIORS.index(recipe.build().prior)
    small = replace(recipe, build=lambda: Network(train.CHANNELS, 4, 8, 1, prior, int("holes" in name)), average=0.5)
    batch = next(iter(recipe.batches(0)))
    torch.manual_seed(0)
    before = small.loss(small.build(), batch, torch.Generator().manual_seed(0))[0].item()
    start = time.thread_time()
    score = training.fit(small, steps=8, folder=tmp_path)
    assert time.thread_time() - start < 2
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["network"]
    net = small.build()
    net.load_state_dict(kept)
    after = small.loss(net, batch, torch.Generator().manual_seed(0))[0].item()
    assert after < before and 0 < score["rmse"] < 0.5


def test_the_constrained_loss_pulls_eigenvalues_to_the_circle():
    """A few steps on the constraint alone; without it in the loss they stay where they are."""
    batch = next(iter(train.batches(0)))
    out = {}
    for circle in (0.0, 30.0):
        torch.manual_seed(0)
        net = Network(train.CHANNELS, 4, 8, 1, PRIORS.index("linear"))
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for step in range(25):
            loss = train.loss(net, batch, torch.Generator().manual_seed(step), circle)[0]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        out[circle] = train.judge(net.eval())["off_circle"]
    assert out[30.0] < 0.7 * out[0.0]
