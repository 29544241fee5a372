"""What the README tells a reader to type works as it stands there."""

import re
import shlex
from pathlib import Path

import pytest

from engines import catalog, weights
from engines import events as ev
from engines.__main__ import main

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
FENCES = re.findall(r"^```(\w*)\n(.*?)^```", README, re.M | re.S)
# Installing, serving and testing are what the other tests are about; a training takes minutes and writes a network.
NOT_RUN = ("./unfold", "./unfold test", "python -m engines train next_token/draft --seconds 120")
# A measurement is tried on a fraction of its cases.
LESS = {"measure": ["--effort", "0.1"]}


def commands() -> list[str]:
    """The lines of all fences that are no Python, without their remarks."""
    lines = [line.split("#")[0].strip() for kind, text in FENCES if kind != "python" for line in text.splitlines()]
    return [line for line in lines if line and line not in NOT_RUN]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_runs(line, capsys):
    line, _, file = line.partition(" > ")
    program, argv = shlex.split(line)[:3], shlex.split(line)[3:]
    assert program == ["python", "-m", "engines"], f"{line!r} is neither tried nor listed as not tried"
    assert main([*argv, *LESS.get(argv[0], [])]) == 0
    out, err = capsys.readouterr()
    assert out.strip() and "unfold:" not in err
    if file:
        ev.read_trace(out)


@pytest.mark.parametrize("text", [text for kind, text in FENCES if kind == "python"])
def test_a_python_example_of_the_readme_runs(text, capsys):
    """With its own seed, and with others until it printed: one that waits for an event may have to wait."""
    for example in (text, *(re.sub(r"seed=\d+", f"seed={n}", text) for n in range(1, 20))):
        exec(compile(example, "README.md", "exec"), {})  # our own text
        if capsys.readouterr().out.strip():
            return
    pytest.fail("no line of the example that prints was reached")


def test_what_is_not_run_is_really_in_the_readme():
    rows = [row.split("#")[0].strip() for _, text in FENCES for row in text.splitlines()]
    assert set(NOT_RUN) <= set(rows)


def test_the_readme_shows_every_exhibit_and_names_only_files_that_exist():
    for exhibit in catalog.EXHIBITS.values():
        assert f"`{exhibit.slug}`" in README and exhibit.paper.arxiv in README
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"`((?:engines|components|tests|assets)/[\w./]+)`", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"train (\w+/\w+)", README):
        assert weights.path_of(name).exists(), name
