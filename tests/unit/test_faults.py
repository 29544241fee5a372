"""Damaged, missing and outdated files: one line that names the file, the promised exit code, and never a traceback.

Damage is done to copies in a temporary folder.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from starlette.applications import Starlette
from starlette.testclient import TestClient

from components.host import routes
from components.page_data import page_data
from components.recorded import ROOT
from components.serve import Desk, Pool, _said
from engines import catalog, errors, record, runtime, training, weights
from engines import events as ev
from engines.__main__ import main
from engines.next_token import train as next_token
from engines.next_token.model import Network
from engines.worlds import stories

SLUG, NET = "next-token", "next_token/target"


@pytest.fixture
def failed(capsys):
    """failed(code, *argv) -> the one line on stderr; nothing may stand on stdout."""

    def call(code: int, *argv: str) -> str:
        assert main(list(argv)) == code
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("unfold: ") and err.count("\n") == 1 and len(err) < 600
        return err

    return call


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """A copy of traces and claims that the code takes for its own."""
    for part in ("traces", "claims"):
        shutil.copytree(record.ASSETS / part, tmp_path / part)
    monkeypatch.setattr(record, "ASSETS", tmp_path)
    return tmp_path


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The file of a network, in a copy of all weights; loaded networks are forgotten before and after."""
    shutil.copytree(weights.FOLDER, tmp_path / "weights")
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    for cached in (weights.load, weights._warm):
        cached.cache_clear()
    yield weights.path_of(NET)
    for cached in (weights.load, weights._warm):
        cached.cache_clear()


def flip(path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(bytes(data))


def test_every_kind_of_error_has_its_exit_code():
    codes = {e: e("x").code for e in (errors.UnfoldError, errors.Refused, errors.BadWeights, errors.BadTrace,
                                      errors.Cancelled)}
    assert list(codes.values()) == [1, 2, 3, 4, 5], "scripts rely on these"


# weights ------------------------------------------------------------------------------------------------

DAMAGE = {
    "a flipped byte": lambda path: flip(path, -1000),
    "a flipped byte in the header": lambda path: flip(path, 40),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:5_000]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "of another network": lambda path: shutil.copy(weights.path_of("any_order/subset"), path),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_network_file_that_is_no_good_is_named(stored, failed, damage):
    damage(stored)
    for argv in (["run", SLUG], ["measure", SLUG, "--claim", "filters-vs-validity"]):
        line = failed(errors.BadWeights.code, *argv)
        assert str(stored) in line and "engines train" in line


@pytest.mark.parametrize("damage", [k for k in DAMAGE if k != "missing"])
def test_the_ledger_names_a_damaged_file(stored, failed, damage):
    DAMAGE[damage](stored)
    assert str(stored) in failed(errors.BadWeights.code, "weights")


def test_the_ledger_names_a_file_of_no_family(stored, failed):
    stray = weights.FOLDER / "nobody" / "net.safetensors"
    stray.parent.mkdir()
    shutil.copy(stored, stray)
    assert str(stray) in failed(errors.BadWeights.code, "weights")


def frames_of(desk: Desk, request: dict) -> list[dict]:
    async def collect():
        return [frame async for frame in desk.stream_run(request, "page")]

    # A browser test before this one may have left an event loop running in this thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(collect())).result()


def test_a_page_is_told_which_network_is_damaged_and_the_server_lives_on(stored):
    desk = Desk(catalog.EXHIBITS, runtime.run, runtime.measure, Pool(slots=1))
    good = stored.read_bytes()
    flip(stored, -1000)
    frames = frames_of(desk, {"run": "0" * 16, "exhibit": SLUG, "lanes": ["filtered"]})
    told = [f["failed"] for f in frames if "failed" in f]
    assert told and told[0]["code"] == "BadWeights" and stored.name in told[0]["message"]
    assert not any(f.get("events") for f in frames), "nothing is shown that was not computed"
    stored.write_bytes(good)
    frames = frames_of(desk, {"run": "1" * 16, "exhibit": SLUG, "lanes": ["filtered"]})
    assert frames[-1]["end"]["reason"] == "finished" and not any("failed" in f for f in frames)


@pytest.fixture
def grammar(tmp_path, monkeypatch):
    """A copy of the compiled grammar's file; compiling it again is cut short to a word."""
    copy = tmp_path / "stories.npz"
    shutil.copy(stories.COMPILED, copy)
    monkeypatch.setattr(stories, "COMPILED", copy)
    monkeypatch.setattr(stories, "compile_grammar", lambda *a: "compiled")
    return copy


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b""), lambda p: p.write_bytes(p.read_bytes()[:1000]),
                                    lambda p: p.unlink(), lambda p: (p.unlink(), p.mkdir())],
                         ids=["empty", "cut short", "missing", "a folder"])
def test_a_damaged_grammar_file_costs_time_but_no_run(grammar, damage):
    """The file only saves seconds: without it the grammar is compiled again."""
    damage(grammar)
    assert stories.automaton.__wrapped__() == "compiled"


def test_a_flipped_byte_anywhere_in_the_grammar_file_is_survived_too(grammar):
    """Zip, zlib and numpy notice in their own ways; a byte that none of them reads may go unnoticed."""
    size = grammar.stat().st_size
    noticed = 0
    for at in range(7, size, size // 50):
        flip(grammar, at)
        noticed += stories.automaton.__wrapped__() == "compiled"
        flip(grammar, at)
    assert noticed > 40


# traces -------------------------------------------------------------------------------------------------


def rewrite(path, change) -> None:
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode()))


BROKEN = {
    "another version": (lambda t: t.replace('"trace":1', '"trace":2', 1), "version 2"),
    "a broken line": (lambda t: t.replace('{"kind":"commit"', '{"kind":"comm', 1), "is not JSON"),
    "a line that is missing": (lambda t: "\n".join(t.split("\n")[:20] + t.split("\n")[21:]), "n should be"),
    "another word": (lambda t: t.replace('"kind":"commit"', '"kind":"explode"', 1), "explode"),
    "a digest that does not fit": (lambda t: t.replace('"digest":"', '"digest":"0', 1), "digest"),
    "a changed word": (lambda t: _another_word(t), "digest"),
    "cut short": (lambda t: t[: len(t) // 2].rsplit("\n", 1)[0], "ends once"),
    "no header": (lambda t: t.split("\n", 1)[1], "header"),
    "nothing in it": (lambda t: "", "header"),
}


def _another_word(text: str) -> str:
    lines = text.split("\n")
    i = next(i for i, line in enumerate(lines) if line.startswith('{"kind":"commit"'))
    event = json.loads(lines[i])
    lines[i] = json.dumps(event | {"values": ["owl" if event["values"] != ["owl"] else "fox"]})
    return "\n".join(lines)


@pytest.mark.parametrize(("change", "word"), BROKEN.values(), ids=BROKEN)
def test_a_recorded_trace_that_is_no_good_is_named(assets, failed, change, word):
    rewrite(record.trace_path(SLUG), change)
    line = failed(errors.BadTrace.code, "record", SLUG, "--check")
    assert f"{SLUG}.jsonl.gz" in line and word in line


@pytest.mark.parametrize("damage", [lambda p: flip(p, p.stat().st_size // 2), lambda p: flip(p, 0),
                                    lambda p: p.write_bytes(p.read_bytes()[:-100]), lambda p: p.write_bytes(b""),
                                    lambda p: p.write_bytes(gzip.compress(b"\xff\xfe")), lambda p: p.unlink()],
                         ids=["a flipped byte", "no gzip", "cut short", "empty", "not UTF-8", "missing"])
def test_a_trace_file_that_cannot_be_unpacked_is_named(assets, failed, damage):
    damage(record.trace_path(SLUG))
    line = failed(errors.BadTrace.code, "record", SLUG, "--check")
    assert f"{SLUG}.jsonl.gz" in line and f"engines record {SLUG}" in line


@pytest.fixture(scope="module")
def data():
    return page_data(catalog.EXHIBITS)


def served(data, folder, path: str):
    app = Starlette(routes=routes(data, folder))
    return TestClient(app, raise_server_exceptions=False).get(path)


def test_the_page_gets_the_recorded_trace_and_it_is_sound(data, assets):
    answer = served(data, assets, f"/unfold/traces/{SLUG}.jsonl")
    assert answer.status_code == 200
    head, events = ev.read_trace(answer.text)
    assert head["exhibit"] == SLUG and events


@pytest.mark.parametrize("name", ["nothing", "..%2fclaims%2fassd", "%00", "assd.jsonl", "${1}", "a" * 5_000])
def test_a_trace_that_does_not_exist_is_a_404(data, assets, name):
    assert served(data, assets, f"/unfold/traces/{name}.jsonl").status_code == 404


@pytest.mark.parametrize("path", ["../app.py", "..%2f..%2fengines/record.py", "host.py", "shell", "", "no.js",
                                  "shell/../../assets/strings/en.json", "%2fetc%2fpasswd"])
def test_only_what_a_browser_needs_is_public(data, assets, path):
    assert served(data, assets, f"/unfold/{path}").status_code == 404


def test_a_missing_trace_is_absent_from_the_page_and_never_invented(assets):
    record.trace_path(SLUG).unlink()
    data = page_data(catalog.EXHIBITS, assets)
    by_slug = {e["slug"]: e for e in data["exhibits"]}
    assert by_slug[SLUG]["trace"] is None and by_slug["assd"]["trace"]
    assert served(data, assets, f"/unfold/traces/{SLUG}.jsonl").status_code == 404


def test_a_damaged_trace_never_leaves_the_server_as_a_good_one(data, assets):
    """What the page may get is an error without a word of our insides."""
    flip(record.trace_path(SLUG), 5_000)
    answer = served(data, assets, f"/unfold/traces/{SLUG}.jsonl")
    assert answer.status_code >= 400 and "Traceback" not in answer.text and len(answer.text) < 200


# claims -------------------------------------------------------------------------------------------------


def test_results_of_other_weights_are_not_kept_beside_new_ones(assets, capsys):
    """`measure --save` of one claim merges it into the file; old figures must not get the new digest."""
    path = record.claims_path(SLUG)
    before = json.loads(path.read_text())
    save = ["measure", SLUG, "--claim", "kept-set-equals-reference", "--effort", "0.1", "--save"]
    assert main(save) == 0
    assert [c["id"] for c in json.loads(path.read_text())["claims"]] == [c["id"] for c in before["claims"]]
    path.write_text(json.dumps(before | {"models": {NET: "0" * 64}}))
    assert main(save) == 0
    after = json.loads(path.read_text())
    assert after["models"] == {NET: weights.sha256(NET)}
    assert [c["id"] for c in after["claims"]] == ["kept-set-equals-reference"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"claims": 3}', "\x00"])
def test_a_damaged_claims_file_is_named(assets, capsys, text):
    path = record.claims_path(SLUG)
    path.write_text(text)
    assert main(["measure", SLUG, "--claim", "kept-set-equals-reference", "--effort", "0.1", "--save"]) == 1
    err = capsys.readouterr().err.split("\r")[-1]
    assert f"{SLUG}.json" in err and err.count("\n") == 1
    assert path.read_text() == text, "it is left for somebody to look at"


def test_shipped_results_belong_to_the_shipped_weights():
    for slug in catalog.EXHIBITS:
        for name, sha in record.load_claims(slug)["models"].items():
            assert weights.sha256(name) == sha, f"{record.claims_path(slug).name}: {name} was trained again; measure"
        head, _ = record.read(slug)
        for name, sha in head["models"].items():
            assert weights.sha256(name) == sha, f"{record.trace_path(slug).name}: {name} was trained again; record"


# a full disk --------------------------------------------------------------------------------------------


@contextmanager
def full_disk(after: int = 2_000):
    """No file of this process may grow beyond so many bytes: a write fails in the middle, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("path", "argv"), [
    (record.trace_path, ["record", SLUG]),
    (record.claims_path, ["measure", SLUG, "--claim", "kept-set-equals-reference", "--effort", "0.1", "--save"]),
])
def test_a_full_disk_is_said_in_one_line_and_keeps_the_file_of_before(assets, capsys, path, argv):
    before = path(SLUG).read_bytes()
    with full_disk():
        assert main(argv) == 1
    err = capsys.readouterr().err.split("\r")[-1]
    assert err.startswith("unfold: ") and "try again" in err and err.count("\n") == 1
    assert path(SLUG).read_bytes() == before
    assert not list(assets.rglob("*.tmp")), "half a file is left behind"
    assert main(argv) == 0, "with room again it works"


def test_a_full_disk_keeps_the_network_of_before(stored):
    before = stored.read_bytes()
    net = weights.load(NET)
    with full_disk(), pytest.raises(OSError):
        weights.save(net, stored, {})
    assert stored.read_bytes() == before and not list(stored.parent.glob("*.tmp"))


def test_a_full_disk_ends_a_training_and_keeps_its_last_checkpoint(tmp_path):
    recipe = next_token.RECIPES[NET]
    small = replace(recipe, judge=lambda network: {}, build=lambda: Network(
        **recipe.build().config | {"layers": 1, "width": 16, "heads": 2, "hidden": 16}))
    training.fit(small, steps=1, folder=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with full_disk(), pytest.raises(OSError):
        training.fit(small, steps=2, folder=tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    training.fit(small, steps=2, folder=tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2


def test_an_output_that_finds_no_room_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "engines", "list"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE,
                              text=True)
    assert done.returncode == 1 and done.stderr.startswith("unfold: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["claims/assd.json", "strings/en.json", "traces/assd.jsonl.gz"])
def test_a_damaged_file_of_the_page_is_named_in_one_line(name, tmp_path):
    for folder in ("claims", "strings", "traces"):
        shutil.copytree(ROOT / "assets" / folder, tmp_path / folder)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:100])
    with pytest.raises(errors.UnfoldError) as error:
        page_data(catalog.EXHIBITS, tmp_path)
    assert name.split("/")[1].split(".")[0] in str(error.value) and "\n" not in str(error.value)


def test_the_page_is_not_told_where_the_project_lies():
    error = errors.UnfoldError(f"{ROOT}/assets/weights/x.safetensors is missing")
    assert _said(error) == "assets/weights/x.safetensors is missing"
