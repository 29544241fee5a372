"""Recipes of the auto-encoders learn, and their claims fall for fields that are wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engines import training
from engines.density import claims
from engines.density.exhibits import DAE_SCORE
from engines.density.model import DAE, PLAIN, RCAE, TIED, Free, Tied
from engines.density.train import LEVELS, RECIPES, batches, cosine
from engines.runtime import Trial, complete
from engines.worlds import plane


@pytest.mark.parametrize("name", [DAE, RCAE, TIED, PLAIN])
def test_a_recipe_learns(name, tmp_path):
    levels = [200] if name == PLAIN else LEVELS
    kind = Tied if name == TIED else Free
    small = replace(RECIPES[name], build=lambda: kind(16, 4, levels), judge=lambda net: {"loss": 0.0}, average=0.9)
    losses = []

    def loss(network, x, generator):
        value, weight = small.loss(network, x, generator)
        losses.append(float(value.detach()))
        return value, weight

    training.fit(replace(small, loss=loss, learning_rate=1e-2), steps=60, folder=tmp_path)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_the_networks_of_a_density_see_the_same_points_and_parts_differ():
    first, again, other = (next(iter(batches(part))) for part in (0, 0, 1))
    assert first.shape[0] == len(plane.NAMES) * len(LEVELS) and torch.equal(first, again)
    assert torch.equal(first[0], first[3]) and not torch.equal(first[0], first[4])
    assert not torch.equal(first, other)


def test_networks_stay_within_their_parameters():
    count = {name: sum(p.numel() for p in recipe.build().parameters()) for name, recipe in RECIPES.items()}
    assert all(n <= 0.4e6 for n in count.values())
    assert count[DAE] == count[RCAE]


def trial(claim, **more):
    return Trial(DAE_SCORE, next(c for c in DAE_SCORE.claims if c.id == claim), **({"effort": 0.1} | more))


def last(t):
    *_, result = t.claim.measure(t)
    return complete(t.claim, result)


def wrong_scale(density, sigma, x):
    return x + 0.2 * (claims.best(density, sigma, x) - x) / sigma


def turned(density, sigma, x):
    return x + (claims.best(density, sigma, x) - x)[..., ::-1]


def identity(density, sigma, x):
    return x.copy()


@pytest.mark.parametrize("claim", ["score-cosine-rises", "field-to-score-scale"])
def test_the_claims_about_the_field_hold_for_the_best_denoiser(claim):
    assert last(trial(claim, subject=claims.best))["holds"] is True


@pytest.mark.parametrize(
    ("claim", "twin"),
    [("score-cosine-rises", turned), ("score-cosine-rises", identity), ("field-to-score-scale", wrong_scale),
     ("field-to-score-scale", turned), ("field-to-score-scale", identity)],
)
def test_the_claims_about_the_field_fall_for_a_wrong_one(claim, twin):
    assert last(trial(claim, subject=twin))["holds"] is False


def test_random_networks_make_the_claims_about_the_field_false():
    torch.manual_seed(0)
    net = Free(16, 4, LEVELS).eval()
    for claim in ("score-cosine-rises", "field-to-score-scale"):
        assert last(trial(claim, nets=lambda name: net.session()))["holds"] is False


def test_a_permutation_test_tells_two_laws_apart_and_leaves_one_alone():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 2)), rng.normal(size=(200, 2))
    assert claims.permuted(a, b, 200)[1] > 0.01
    assert claims.permuted(a, b * 1.8, 200)[1] <= 0.01


def test_a_cosine_of_nothing_is_zero():
    assert cosine(np.zeros((1, 2)), np.ones((1, 2)))[0] == 0
    assert cosine(np.array([[2.0, 0]]), np.array([[3.0, 0]]))[0] == pytest.approx(1)
