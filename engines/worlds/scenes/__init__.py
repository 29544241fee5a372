"""SCENES: one to four toys on a 3 x 3 table, 64 x 64 pixels, drawn from seeds alone.

`captions(seeds)` says what is there without drawing, `draw(seeds)` draws it, `render(objects, seeds)` draws what is
asked for with the wobble and the table of these seeds. Take seeds from TRAIN, VALIDATION or TEST.
"""

from collections.abc import Iterator

from engines.worlds.scenes.changes import EditPairs, Film, Video, edit_pairs, film, nearest_joint, script, video
from engines.worlds.scenes.drawing import Scene
from engines.worlds.scenes.objects import (
    CELLS,
    COLOURS,
    MOST,
    PLACES,
    RGB,
    SHAPES,
    SIZE,
    SIZES,
    TEST,
    TRAIN,
    VALIDATION,
    VERSION,
    Seeds,
    caption_text,
    captions,
    sort_objects,
)
from engines.worlds.scenes.placing import render

__all__ = ["CELLS", "COLOURS", "MOST", "PLACES", "RGB", "SHAPES", "SIZE", "SIZES", "TEST", "TRAIN", "VALIDATION",
           "VERSION", "EditPairs", "Film", "Scene", "Seeds", "Video", "batches", "caption_text", "captions", "draw",
           "edit_pairs", "film", "nearest_joint", "render", "script", "sort_objects", "video"]


def draw(seeds: Seeds) -> Scene:
    """The scenes of these seeds; scene b depends on seeds[b] alone."""
    return render(captions(seeds), seeds)


def batches(split: range, batch: int, start: int = 0) -> Iterator[Scene]:
    """Scenes of a split in batches, endlessly, from its start-th batch on; after the last it begins again."""
    whole = len(split) // batch
    while True:
        first = split.start + start % whole * batch
        yield draw(range(first, first + batch))
        start += 1
