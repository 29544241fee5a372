"""The judges read scenes, do not overlook what should not be there, and FD-mini is the distance it says it is."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from engines import training, weights
from engines.worlds import judges, scenes
from engines.worlds.train import RECIPES, spoil

HERE = range(scenes.TEST.start + 10_000, scenes.TEST.start + 10_400)


@pytest.fixture(scope="module")
def scene() -> scenes.Scene:
    return scenes.draw(HERE)


@pytest.fixture(scope="module")
def seen(scene) -> torch.Tensor:
    return judges.features(scene.image)


class Told(nn.Module):
    """A judge that is told the answers, so that what `score` makes of answers can be looked at alone."""

    def __init__(self, objects: torch.Tensor):
        super().__init__()
        wanted = judges.targets(objects)
        self.answer = torch.zeros(*wanted.shape[:2], sum(judges.SIDES))
        offset = 0
        for k, side in enumerate(judges.SIDES):
            index = torch.where(wanted[..., k] < 0, side - 1, wanted[..., k])
            self.answer.scatter_(2, (offset + index)[..., None], 9.0)
            offset += side

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.answer


BLANK = torch.zeros(2, 3, 64, 64)
PAIR = torch.tensor([[[1, 0, 3, 1], [5, 2, 7, 0], [-1] * 4, [-1] * 4], [[0, 3, 1, 1], [-1] * 4, [-1] * 4, [-1] * 4]])


def judged(row: int, slot: int, new: list[int]) -> judges.Score:
    """What PAIR scores when a picture shows `new` in this slot of this row instead."""
    shown = PAIR.clone()
    shown[row, slot] = torch.tensor(new)
    return judges.score(BLANK, PAIR, Told(shown))


def test_a_picture_of_its_caption_is_right():
    score = judges.score(BLANK, PAIR, Told(PAIR))
    assert score.right.tolist() == [[True, True, False, False], [True, False, False, False]]
    assert score.scene.tolist() == [True, True]
    objects, whole = score
    assert torch.equal(objects, PAIR[..., 0] >= 0) and whole.all()


@pytest.mark.parametrize("new", [[5, 1, 7, 0], [5, 2, 6, 0], [5, 2, 7, 1], [8, 2, 7, 0], [-1] * 4])
def test_an_object_with_one_fault_is_wrong_and_so_is_its_scene(new):
    score = judged(0, 1, new)
    assert score.right.tolist() == [[True, False, False, False], [True, False, False, False]]
    assert score.scene.tolist() == [False, True]


def test_what_nobody_asked_for_makes_a_scene_wrong():
    score = judged(1, 1, [7, 0, 0, 0])
    assert score.right[1].tolist() == [True, False, False, False]
    assert score.scene.tolist() == [True, False]


def test_a_reading_says_what_stands_where():
    reading = judges.read(BLANK, Told(PAIR))
    assert reading.shape[0].tolist() == [-1, 0, -1, -1, -1, 2, -1, -1, -1]
    assert reading.colour[0, 5] == 7 and reading.size[0, 1] == 1 and (reading.size[1, 1:] == -1).all()
    assert 0.9 < reading.p.min() <= reading.p.max() <= 1


@pytest.mark.parametrize("name", judges.JUDGES)
def test_the_stored_judges_read_scenes_they_never_saw(name, scene):
    judge = judges.load(name)
    there = scene.objects[..., 0] >= 0
    score = judges.score(scene.image, scene.objects, judge)
    assert score.right[there].float().mean() >= 0.99 and score.scene.float().mean() >= 0.98
    spoilt = judges.score(spoil(scene.image, torch.Generator().manual_seed(1)), scene.objects, judge)
    assert spoilt.right[there].float().mean() >= 0.97
    others = judges.score(scene.image, scene.objects.roll(1, 0), judge)
    assert others.scene.float().mean() < 0.02


@pytest.mark.parametrize("name", judges.JUDGES)
def test_the_stored_judges_see_every_edit(name):
    pairs = scenes.edit_pairs(HERE[:120])
    assert judges.score(pairs.after.image, pairs.after.objects, judges.load(name)).scene.float().mean() > 0.96
    assert judges.score(pairs.after.image, pairs.before.objects, judges.load(name)).scene.float().mean() < 0.02


def test_a_judge_that_never_trained_knows_nothing(scene):
    score = judges.score(scene.image[:64], scene.objects[:64], RECIPES["scenes/judge_inner"].build())
    assert score.right.float().mean() < 0.1 and score.scene.float().mean() < 0.1


def test_the_two_judges_are_not_one():
    inner, scoring = (weights.record(f"scenes/judge_{name}") for name in judges.JUDGES)
    assert inner["config"]["width"] < scoring["config"]["width"] and inner["sha256"] != scoring["sha256"]
    builds = [RECIPES["scenes/judge_inner"].build() for _ in range(2)]
    assert torch.equal(builds[0].head.weight, builds[1].head.weight)
    starts = [next(iter(RECIPES[f"scenes/judge_{name}"].batches(0)))[1] for name in judges.JUDGES]
    assert not torch.equal(*starts), "they learn from different scenes"


@pytest.mark.parametrize("name", judges.JUDGES)
def test_a_recipe_learns(name, tmp_path):
    whole = RECIPES[f"scenes/judge_{name}"]
    few = [next(iter(whole.batches(0)))]
    losses = []

    def loss(network, batch, generator):
        value, weight = whole.loss(network, (batch[0][:24], batch[1][:24]), generator)
        losses.append(value.item())
        return value, weight

    recipe = replace(whole, batches=lambda part: few, loss=loss, judge=lambda network: {})
    training.fit(recipe, steps=10, folder=tmp_path)
    assert losses[-1] < losses[0] - 0.5
    assert weights.read(tmp_path / "network.safetensors", judges.Judge).config == whole.build().config


def test_spoiling_is_seeded_mild_and_leaves_a_third_alone(scene):
    images = scene.image[:256]
    one, two = (spoil(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two) and one.abs().max() <= 1
    change = (one - images).square().mean((1, 2, 3)).sqrt()
    assert 0.23 < (change == 0).float().mean() < 0.44
    assert 0.02 < change[change > 0].mean() < 0.1 and change.max() < 0.2


def gaussian(mean: float, spread: float, count: int = 20_000) -> torch.Tensor:
    return mean + spread * torch.randn(count, 3, generator=torch.Generator().manual_seed(count), dtype=torch.float64)


def test_fd_mini_is_the_frechet_distance():
    a, b = gaussian(0, 1), gaussian(0.5, 2, 20_001)
    assert judges.fd_mini(a, a) == pytest.approx(0, abs=1e-9)
    assert judges.fd_mini(a, b) == pytest.approx(3 * 0.25 + 3 * (2 - 1) ** 2, rel=0.03)
    assert judges.fd_mini(a, b) == pytest.approx(judges.fd_mini(b, a), rel=1e-9)
    # Covariances that do not commute, where |√A - √B|² would be another number.
    mix = torch.tensor([[1.0, 0.9, 0], [0, 0.5, 0], [0, 0, 0.1]], dtype=torch.float64)
    cov_a, cov_b = (torch.cov(x.T) for x in (a @ mix, b @ mix.T))
    shared = torch.linalg.eigvals(cov_a @ cov_b).real.clamp_min(0).sqrt().sum()
    exact = ((a @ mix).mean(0) - (b @ mix.T).mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * shared
    assert judges.fd_mini(a @ mix, b @ mix.T) == pytest.approx(float(exact), rel=1e-9)


def test_fd_mini_of_fewer_pictures_than_features_is_a_number(seen):
    few = judges.fd_mini(seen[:20].float(), seen[20:40].float())
    assert 0 < few < float("inf") and judges.fd_mini(seen[:20], seen[:20]) < 1e-6


def test_fd_mini_is_small_between_real_pictures_and_grows_with_noise(scene, seen):
    real = judges.fd_mini(seen[:200], seen[200:])
    noise = torch.randn(scene.image[:200].shape, generator=torch.Generator().manual_seed(0))
    found = [
        judges.fd_mini(judges.features((scene.image[:200] + level * noise).clamp(-1, 1)), seen[200:])
        for level in (0.05, 0.1, 0.2, 0.4)
    ]
    assert real < found[0] and all(a < b for a, b in zip(found, found[1:]))
    assert found[-1] > 10 * real
