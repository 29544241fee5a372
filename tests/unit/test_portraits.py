"""What the map draws an exhibit's portrait from: the first lane's cells and its last picture, and nothing else."""

import json

import pytest

from components.recorded import portrait, read, trace_text
from engines.catalog import EXHIBITS
from engines.events import expand


def cells(events: list[dict]) -> list[list[int]]:
    """All that was committed between one evaluation and the next."""
    out: list[list[int]] = [[]]
    for event in events:
        if event["kind"] == "forward":
            out.append([])
        if event["kind"] == "commit":
            out[-1] += expand(event["cells"])
    return [found for found in out if found]


@pytest.mark.parametrize("slug", EXHIBITS)
def test_a_portrait_has_what_the_first_lane_decided_and_its_picture(slug):
    drawn = [json.loads(line) for line in portrait(slug).splitlines()]
    whole = [e for e in read(slug) if "kind" in e]
    first = [e for e in whole if e["lane"] == whole[0]["lane"]]
    assert drawn[0]["canvases"] == first[0]["canvases"] and drawn[0].get("given") == first[0].get("given")
    assert cells(drawn) == cells(first) != []
    pictures = [e["data"] for e in first if e["kind"] == "preview" and e["name"] == "picture"]
    assert [e["data"] for e in drawn if e["kind"] == "preview"] == pictures[-1:]


@pytest.mark.parametrize("slug", EXHIBITS)
def test_a_portrait_is_a_small_part_of_the_run(slug):
    assert 0 < 5 * len(portrait(slug)) < len(trace_text(slug))


def test_without_a_run_there_is_no_portrait(tmp_path):
    assert portrait("assd", tmp_path) == b""
