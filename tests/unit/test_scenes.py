"""The picture world: what is drawn is what the caption says, and depends on the seed alone."""

import hashlib
import time
from dataclasses import fields

import pytest
import torch

from engines.worlds import scenes
from engines.worlds.scenes.objects import name
from engines.worlds.scenes.placing import place

HERE = range(scenes.TEST.start, scenes.TEST.start + 160)
PITCH = scenes.SIZE / 3


@pytest.fixture(scope="module")
def drawn() -> scenes.Scene:
    return scenes.draw(HERE)


def alone(cell=4, shape=0, colour=0, size=1, seeds=(7,)) -> scenes.Scene:
    """One object on the table of each of these seeds."""
    objects = torch.full((len(seeds), 4, 4), -1)
    objects[:, 0] = torch.tensor([cell, shape, colour, size])
    return scenes.render(objects, seeds)


def bare(seeds=(7,)) -> scenes.Scene:
    return scenes.render(torch.full((len(seeds), 4, 4), -1), seeds)


def shown(scene: scenes.Scene):
    """(scene, row of its caption, its mask (64, 64)) of every object."""
    for b, objects in enumerate(scene.objects.tolist()):
        for k, row in enumerate(objects):
            if row[0] >= 0:
                yield b, row, scene.segmentation[b] == k + 1


def test_captions_are_one_to_four_objects_in_distinct_cells_by_cell():
    objects = scenes.captions(range(3_000))
    there = objects[..., 0] >= 0
    assert objects.dtype == torch.int64 and objects.shape == (3_000, 4, 4)
    assert ((objects >= 0) == there[..., None]).all(), "an absent object is -1 throughout"
    cell = torch.where(there, objects[..., 0], 99 + torch.arange(4))
    assert (cell[:, 1:] > cell[:, :-1]).all()
    assert torch.equal(scenes.sort_objects(objects.flip(1)), objects)
    counts = torch.bincount(there.sum(1), minlength=5)
    assert counts[0] == 0 and (counts[1:] / 3_000 - 0.25).abs().max() < 0.035
    for column, size in enumerate((9, 4, 8, 2)):
        shares = torch.bincount(objects[there][:, column], minlength=size) / there.sum()
        assert len(shares) == size and (shares * size - 1).abs().max() < 0.15


def test_the_world_is_the_one_that_networks_were_trained_on():
    """Whoever changes what a seed means must change VERSION and train again."""
    digest = hashlib.sha256(scenes.captions(range(1_000)).numpy().tobytes()).hexdigest()
    look = scenes.draw(range(32)).image.mean((0, 2, 3)).tolist()
    assert (scenes.VERSION, digest[:12]) == (1, "54ba67a82cf4")
    assert look == pytest.approx([0.7545, 0.5578, 0.348], abs=2e-4)


def test_a_scene_depends_on_its_own_seed_alone(drawn):
    for k in (0, 63, 64, 159):
        single = scenes.draw([HERE[k]])
        for field in fields(single):
            assert torch.equal(getattr(drawn, field.name)[k], getattr(single, field.name)[0]), field.name
    assert torch.equal(scenes.render(scenes.captions(HERE), HERE).image, drawn.image)
    assert not torch.equal(drawn.image[0], drawn.image[1])


def test_types_and_ranges(drawn):
    assert drawn.image.shape == (160, 3, 64, 64) and drawn.image.dtype == torch.float32
    assert -1 <= drawn.image.min() < -0.8 and 0.9 < drawn.image.max() <= 1
    assert drawn.segmentation.shape == drawn.depth.shape == drawn.edges.shape == (160, 64, 64)
    assert drawn.segmentation.dtype == drawn.edges.dtype == torch.uint8
    assert 0 < drawn.depth.min() and drawn.depth.max() < 1 and set(drawn.edges.unique().tolist()) == {0, 1}


def test_every_object_stands_in_its_cell_and_sizes_do_not_meet(drawn):
    areas: dict[tuple[int, int], list[int]] = {}
    for _, (cell, shape, _, size), mask in shown(drawn):
        y, x = mask.nonzero().float().add(0.5).unbind(1)
        top, left = (cell // 3) * PITCH, (cell % 3) * PITCH
        assert left - 1 < x.min() and x.max() < left + PITCH + 1 and top - 1 < y.min() and y.max() < top + PITCH + 1
        spread = max(x.max() - x.min(), y.max() - y.min()) + 1
        assert (14 < spread < 22) if size else (8 < spread < 13)
        areas.setdefault((shape, size), []).append(int(mask.sum()))
    assert len(areas) == 8
    for shape in range(4):
        assert min(areas[shape, 1]) > 1.7 * max(areas[shape, 0])


def test_objects_have_the_colour_of_their_name(drawn):
    """In light and shade alike the named colour is the nearest in hue, all colours being scaled to one brightness."""
    named = torch.nn.functional.normalize(torch.tensor(scenes.RGB).square(), dim=1)
    rights = []
    for b, (_, _, colour, _), mask in shown(drawn):
        inside = mask & ~drawn.edges[b].bool()
        light = ((drawn.image[b, :, inside] + 1) / 2).square().mean(1)
        rights.append(int((named @ light).argmax()) == colour)
    assert sum(rights) / len(rights) > 0.97


def test_shapes_are_what_they_are_called():
    sphere, cube, cone, ring = (alone(shape=k) for k in range(4))
    y, x = (sphere.segmentation[0] > 0).nonzero().float().mean(0).round().int().tolist()
    assert sphere.segmentation[0, y, x] == cube.segmentation[0, y, x] == 1
    assert ring.segmentation[0, y, x] == 0, "a ring has a hole"
    width = cone.segmentation[0].sum(1)
    rows = width.nonzero()[:, 0]
    assert width[rows[1]] < 0.35 * width.max() and width[rows[-4]] > 0.8 * width.max(), "a cone is pointed on top"
    inner = [int(s.edges[0][1:-1, 1:-1][_eroded(s.segmentation[0])].sum()) for s in (sphere, cube, cone, ring)]
    assert inner[1] > 12 and inner[0] == inner[2] == 0, "only a cube shows edges within: three faces"


def _eroded(marks: torch.Tensor) -> torch.Tensor:
    """Pixels whose eight neighbours belong to the object too, of the picture without its border."""
    return -torch.nn.functional.max_pool2d(-(marks > 0).float()[None], 3, 1)[0] > 0


def test_light_comes_from_the_left_and_shadow_falls_to_the_right():
    sphere, table = alone(), bare()
    mask = sphere.segmentation[0] > 0
    middle = mask.nonzero().float().mean(0)[1]
    right = torch.arange(64)[None] > middle
    grey = sphere.image[0].mean(0)
    assert grey[mask & ~right].mean() > grey[mask & right].mean() + 0.1
    change = table.image[0].mean(0) - grey
    near = torch.nn.functional.max_pool2d(mask.float()[None], 3, 1, 1)[0] > 0
    assert change[~near & right].sum() > 5 * change[~near & ~right].sum() > 0
    assert change[:, 62:].abs().max() == 0, "far away nothing changes"


def test_outlines_are_smooth():
    """Where an object ends, some pixels lie well between it and the table."""
    sphere, table = alone(colour=5), bare()
    mask = sphere.segmentation[0] > 0
    rim = sphere.edges[0].bool()
    blue, ground = sphere.image[0, 0][mask & ~rim].mean(), table.image[0, 0].mean()
    share = (sphere.image[0, 0][rim] - blue) / (ground - blue)
    assert ((share > 0.2) & (share < 0.8)).float().mean() > 0.15


def test_depth_grows_up_the_table_and_objects_stand_in_front_of_it():
    scene, table = alone(shape=2), bare()
    assert (table.depth[0].diff(dim=0) < 0).all()
    mask = scene.segmentation[0] > 0
    assert torch.equal(scene.depth[0][~mask], table.depth[0][~mask])
    assert (scene.depth[0] < table.depth[0] + 1e-4)[mask].all()
    # The apex stands 1.96 radii over the table: sin(32°) of it is seen as so much nearer.
    nearer = (table.depth[0] - scene.depth[0])[mask].max() * 150
    assert 0.8 < float(nearer) / (1.96 * float(place(scene.objects, [7]).radius) / 0.53) < 1.05


def test_tables_are_warm_and_differ():
    table = bare(range(60)).image
    red, _, blue = table.mean((0, 2, 3)).tolist()
    assert red > blue + 0.2
    tone = table.mean((2, 3))
    assert (tone[:, 0] > tone[:, 2] - 0.02).all() and (tone.mean(1) > 0.2).all()
    assert torch.cdist(tone, tone).fill_diagonal_(9).min() > 1e-3
    assert 0.02 < table.std((2, 3)).mean() < 0.12


def test_the_words_of_a_caption():
    objects = torch.tensor([[4, 0, 0, 1], [6, 2, 5, 0], [-1] * 4, [-1] * 4])
    assert scenes.caption_text(objects) == "a large red sphere in the middle, a small blue cone at the bottom left"


def test_an_edit_changes_one_object_and_no_other_pixel():
    pairs = scenes.edit_pairs(HERE)
    left, top, right, bottom = (pairs.box[:, k, None, None] for k in range(4))
    span = torch.arange(scenes.SIZE)
    inside = (span >= left) & (span < right) & (span[:, None] >= top) & (span[:, None] < bottom)
    changed = (pairs.before.image != pairs.after.image).any(1)
    assert not (changed & ~inside).any() and changed.any((1, 2)).all()
    assert inside.float().mean() < 0.35
    verbs = set()
    for before, after, text, cell in zip(pairs.before.objects, pairs.after.objects, pairs.text, pairs.cell.tolist()):
        old, new = ({tuple(row) for row in rows.tolist() if row[0] >= 0} for rows in (before, after))
        assert {row[0] for row in old ^ new} == {cell} and 1 <= len(new) <= 4
        (gone,), (come,) = (old - new or {None}), (new - old or {None})
        verb = text.split()[0]
        verbs.add(verb)
        assert scenes.PLACES[cell] in text
        if verb == "paint":
            assert gone[1::2] == come[1::2] and text.endswith(scenes.COLOURS[come[2]])
        elif verb == "turn":
            assert gone[2:] == come[2:] and text.endswith(scenes.SHAPES[come[1]])
        else:
            named = name(*(come or gone)[1:])
            assert named in text and (verb == "put") == (gone is None) and (verb == "take") == (come is None)
    assert verbs == {"paint", "turn", "put", "take"}


def test_films_begin_with_the_scene_move_a_little_and_end_where_their_caption_says():
    film = scenes.video(HERE[:24], frames=6)
    first = scenes.draw(HERE[:24])
    assert film.images.shape == (24, 6, 3, 64, 64) and film.objects.shape == (24, 6, 4, 4)
    assert torch.equal(film.images[:, 0], first.image) and torch.equal(film.objects[:, 0], first.objects)
    steps = film.images.diff(dim=1).abs().mean((2, 3, 4))
    assert (steps.sum(1) > 0).all() and steps.max() < 0.1
    last = scenes.render(film.objects[:, -1], HERE[:24]).image
    assert (film.images[:, -1] - last).abs().max() < 1e-3
    moved = (film.objects[:, 0] != film.objects[:, -1]).any((1, 2))
    assert 0 < moved.sum() < 24
    cells = film.objects[..., 0].flatten(0, 1)
    assert all(len(set(c)) == len(c) for c in ([k for k in row if k >= 0] for row in cells.tolist()))


def test_batches_go_through_a_split_once_and_begin_again():
    split = range(100, 110)
    stream = scenes.batches(split, 4, start=1)
    found = [next(stream).image for _ in range(3)]
    for image, first in zip(found, (104, 100, 104)):
        assert torch.equal(image, scenes.draw(range(first, first + 4)).image)


def test_splits_do_not_meet():
    splits = sorted((s.start, s.stop) for s in (scenes.TRAIN, scenes.VALIDATION, scenes.TEST))
    assert all(a[1] <= b[0] for a, b in zip(splits, splits[1:]))


def test_drawing_keeps_up_with_a_training():
    scenes.draw(range(64))
    began = time.thread_time()
    scenes.draw(range(192))
    assert 192 / (time.thread_time() - began) > 150
