"""The command line: what it prints, and that a mistake is one readable line with an exit code, never a traceback."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from engines import catalog, record
from engines import events as ev
from engines.__main__ import main
from engines.exhibit import Lane
from engines.worlds import stories

ROOT = record.ASSETS.parent
RED, BIDI = "\x1b[31m", "\u202e"


@pytest.fixture
def refused(capsys):
    """refused(*argv) -> the line on stderr; checks that it is one, is short, is plain, and that stdout is empty."""

    def call(*argv: str, code: int = 2) -> str:
        assert main(list(argv)) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("unfold: ") and err.endswith("\n") and err.count("\n") == 1 and len(err) < 500
        assert err[:-1].isprintable(), "a terminal must not be steered by what somebody typed"
        return err

    return call


@pytest.fixture
def trace(capsys):
    """trace(*argv) -> header and events of what `run` wrote on stdout; reading checks the rules and the digest."""

    def call(*argv: str) -> tuple[dict, list[ev.Event]]:
        assert main(["run", *argv]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return ev.read_trace(out)

    return call


# what works ---------------------------------------------------------------------------------------------


def test_list_names_every_exhibit_and_setting(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert main(["list", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert [e["slug"] for e in described] == list(catalog.EXHIBITS)
    for e in described:
        assert e["slug"] in text and e["title"] in text
        assert all(f"--set {s['name']}=" in text for s in e["settings"])


@pytest.mark.parametrize("slug", list(catalog.EXHIBITS))
def test_run_writes_a_sound_trace_of_what_was_asked(trace, slug):
    lane = list(catalog.EXHIBITS[slug].lanes)[-1]
    head, events = trace(slug, "--seed", "5", "--lane", lane)
    ev.check(events)
    assert head["digest"] == ev.digest(events)
    assert (head["exhibit"], head["seed"], {e.lane for e in events}) == (slug, 5, {lane})
    assert head["models"] and head["runtime"]["threads"] == 1


def test_settings_reach_the_run_in_every_spelling(trace):
    once, _ = trace("assd", "--set", "k=8", "share=10")
    twice, _ = trace("assd", "--set", "k=8", "--set", "share=10")
    assert (once["settings"]["k"], once["settings"]["share"]) == (8, 10)
    assert twice["settings"] == once["settings"], "a second --set must not silently undo the first"


def test_measure_prints_a_sentence_or_json(capsys):
    argv = ["measure", "next-token", "--claim", "kept-set-equals-reference", "--effort", "0.05"]
    assert main(argv) == 0
    assert "holds" in capsys.readouterr().out
    assert main([*argv, "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["exhibit"] == "next-token"
    assert [(c["id"], c["final"], c["n"]) for c in out["claims"]] == [("kept-set-equals-reference", True, 100)]


def test_weights_prints_a_line_for_each_network_and_share(capsys):
    assert main(["weights"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("next_token/target ") and "parameters" in line for line in lines)
    assert any(line.startswith("share words and pictures ") for line in lines)


def test_record_writes_a_trace_and_check_tells_the_same_run_from_another(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "ASSETS", tmp_path)
    assert main(["record", "next-token"]) == 0
    assert "events" in capsys.readouterr().out
    assert main(["record", "next-token", "--check"]) == 0
    head, events = record.read("next-token")
    record.trace_path("next-token").write_bytes(_gzip(ev.write_trace(head | {"seed": head["seed"] + 1}, events)))
    assert main(["record", "next-token", "--check"]) == 1
    assert "another run" in capsys.readouterr().out


def _gzip(text: str) -> bytes:
    return record.gzip.compress(text.encode())


def test_world_stores_a_grammar_that_is_believed(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(stories, "COMPILED", tmp_path / "worlds" / "stories.npz")
    assert main(["world"]) == 0
    assert "stories.npz" in capsys.readouterr().out
    monkeypatch.setattr(stories, "compile_grammar", lambda *a: pytest.fail("the stored file was not used"))
    assert stories.automaton.__wrapped__().entropy() == pytest.approx(stories.automaton().entropy())


# what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "asd"], ["'asd'", "assd"]),
        (["run", ""], ["no exhibit", "assd"]),
        (["run", "assd", "--set", "k=99"], ["k is '99'", "from 1 to 20"]),
        (["run", "assd", "--set", "k=two"], ["k is 'two'", "whole number"]),
        (["run", "assd", "--set", "k=2.5"], ["k is '2.5'", "whole number"]),
        (["run", "assd", "--set", "k="], ["k is ''", "whole number"]),
        (["run", "assd", "--set", "temperature=nan"], ["temperature is 'nan'", "from 0.3 to 1.5"]),
        (["run", "assd", "--set", "temperature=1e999"], ["temperature", "from 0.3 to 1.5"]),
        (["run", "assd", "--set", "pattern=diagonal"], ["pattern is 'diagonal'", "random", "suffix"]),
        (["run", "assd", "--set", "bonus=perhaps"], ["bonus is 'perhaps'", "true or false"]),
        (["run", "assd", "--set", "blanks=70"], ["blanks is '70'", "0 to 63"]),
        (["run", "assd", "--set", "blanks=62"], ["cell 62 does not exist", "0 to"]),
        (["run", "assd", "--set", "story=zebra"], ["zebra", "do not know"]),
        (["run", "assd", "--set", "kay=2"], ["'kay'", "share", "temperature"]),
        (["run", "assd", "--set", "k"], ["'k'", "name=value"]),
        (["run", "assd", "--set", "=3"], ["''", "it has text, share"]),
        (["run", "assd", "--lane", "asd"], ["'asd'", "one-by-one"]),
        (["run", "assd", "--seed", "-1"], ["seed is '-1'", "from 0 to"]),
        (["run", "assd", "--seed", str(2**53)], [f"'{2**53}'", "from 0 to"]),
        (["run", "assd", "--seed", "one"], ["--seed", "'one'"]),
        (["run"], ["slug"]),
        (["run", "assd", "--depth", "3"], ["--depth"]),
        (["paint"], ["paint", "run", "measure"]),
        ([], ["verb"]),
        (["measure", "asd"], ["'asd'", "assd"]),
        (["measure", "assd", "--claim", "beauty"], ["'beauty'", "nfe-bound"]),
        (["measure", "assd", "--effort", "0"], ["effort is 0", "above 0"]),
        (["measure", "assd", "--effort", "nan"], ["effort is nan", "at most 100"]),
        (["measure", "assd", "--effort", "1e9"], ["effort", "at most 100"]),
        (["measure", "assd", "--effort", "lots"], ["--effort", "'lots'"]),
        (["record", "asd"], ["'asd'", "assd"]),
        (["record", "asd", "--check"], ["'asd'", "assd"]),
        (["record", "../claims/assd", "--check"], ["no exhibit"]),
        (["train", "next_token/tagret"], ["next_token/tagret", "next_token/target"]),
        (["weights", "--json"], ["--json"]),
        (["world", "peace"], ["peace"]),
        (["list", "all"], ["all"]),
    ],
    ids=lambda x: " ".join(x)[:40] if isinstance(x, list) else None,
)
def test_a_mistake_is_one_line_that_names_the_thing_and_what_there_is(refused, argv, words):
    line = refused(*argv)
    for word in words:
        assert word in line


@pytest.mark.parametrize("junk", ["a" * 100_000, "9" * 100_000, RED + "red", BIDI + "fox", "a\nb\rc", "\udcff", "\x00"],
                         ids=["100 kB", "100 kB of digits", "colour", "bidi", "newline", "not UTF-8", "NUL"])
@pytest.mark.parametrize(
    "argv", [["run", "{}"], ["run", "assd", "--set", "{}"], ["run", "assd", "--set", "{}=1"],
             ["run", "assd", "--set", "k={}"], ["run", "assd", "--set", "temperature={}"],
             ["run", "assd", "--set", "pattern={}"], ["run", "assd", "--set", "blanks={}"],
             ["run", "assd", "--set", "story={}"], ["run", "assd", "--lane", "{}"], ["run", "assd", "--seed", "{}"],
             ["run", "assd", "--{}"], ["{}"], ["measure", "{}"], ["measure", "assd", "--claim", "{}"],
             ["measure", "assd", "--effort", "{}"], ["record", "{}"], ["record", "{}", "--check"], ["train", "{}"]],
    ids=" ".join)
def test_junk_anywhere_is_one_short_plain_line(refused, argv, junk):
    refused(*(a.format(junk) for a in argv))


def test_a_run_with_a_broken_lane_says_so_and_fails(capsys, monkeypatch):
    """The trace is still written, since the other lanes are sound, but a script must notice."""

    def broken(settings, noise, meter):
        yield ev.Begin(title="t", canvases=[{"id": "s", "kind": "tokens", "shape": [2]}])
        raise ZeroDivisionError("no dice")

    lane = Lane(decode=broken, title="broken", line="breaks", nets=lambda s: [])
    monkeypatch.setitem(catalog.EXHIBITS, "assd", replace(catalog.EXHIBITS["assd"], lanes={"bad": lane}))
    assert main(["run", "assd"]) == 1
    out, err = capsys.readouterr()
    assert ev.read_trace(out)[1][-1].kind == "failed"
    assert "lane 'bad'" in err and "no dice" in err and err.count("\n") == 1


# as a real process --------------------------------------------------------------------------------------


def test_a_process_exits_with_the_code_and_without_a_traceback():
    done = subprocess.run([sys.executable, "-m", "engines", "run", "assd", "--set", "k=99"], cwd=ROOT, text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "from 1 to 20" in done.stderr


def test_a_reader_that_leaves_early_is_no_error():
    """`python -m engines list | true`: the pipe is closed when the buffered text is written at last."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with subprocess.Popen([sys.executable, "-m", "engines", "list"], cwd=ROOT, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        err = process.stderr.read().decode()
        assert process.wait(60) == 0 and err == ""
