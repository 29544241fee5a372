"""The Space's card, requirements and folder are what spaces.yaml says, and what the project itself runs on."""

from __future__ import annotations

import ast
import re
import sys

import pytest
import yaml

from benchmarks import space
from components.host import launch_options
from components.page_data import page_data
from engines import catalog

ROOT = space.ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """{package: version} of a requirements file; the version without its build."""
    lines = (ROOT / name).read_text().splitlines()
    return dict(re.findall(r"^([\w-]+)==([\d.]+)", "\n".join(lines), re.M))


def test_head_and_requirements_are_what_the_command_writes() -> None:
    source = space.source()
    assert space.readme(source, README) == README, "run `python -m benchmarks.space`"
    assert space.requirements(source) == (ROOT / "requirements-space.txt").read_text()


def test_a_change_of_the_source_would_be_noticed() -> None:
    source = space.source()
    for changed in (
        source | {"hardware": "t4-small"},
        source | {"card": source["card"] | {"title": "Fold"}},
        source | {"pins": source["pins"] | {"gradio": "1.0"}},
    ):
        assert space.readme(changed, README) != README
    assert space.requirements(source | {"pins": source["pins"] | {"torch": "1.0"}}) != space.requirements(source)


def test_the_head_is_what_a_space_reads() -> None:
    assert README.startswith("---\n")
    card = yaml.safe_load(README.split("---\n")[1])
    assert card["sdk"] == "gradio" and (ROOT / card["app_file"]).exists()
    assert isinstance(card["sdk_version"], str) and isinstance(card["python_version"], str)
    assert card["sdk_version"] == pins("requirements.txt")["gradio"]
    assert len(card["short_description"]) <= 60
    assert README.split("---\n", 2)[2].lstrip().startswith("# Unfold")


def test_the_space_runs_on_the_versions_that_are_tested_here() -> None:
    ours, theirs = pins("requirements.txt"), pins("requirements-space.txt")
    assert theirs and {name: ours.get(name) for name in theirs} == theirs


def imported() -> set[str]:
    """Packages that what runs on the Space imports; those that only a training or a benchmark asks for are lazy."""
    found = set()
    for path in [ROOT / "app.py", *(ROOT / "components").rglob("*.py"), *(ROOT / "engines").rglob("*.py")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:  # at the top: what a start needs
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.split(".")[0] for name in names}
    return found - set(sys.stdlib_module_names) - {"components", "engines", ""}


def test_the_space_installs_what_it_imports() -> None:
    packages = {"PIL": "pillow", "huggingface_hub": "huggingface-hub", "starlette": "gradio"}  # gradio brings starlette
    wanted = {packages.get(name, name) for name in imported()}
    assert wanted <= set(space.source()["pins"])


def test_the_page_is_not_rendered_by_a_server_of_its_own() -> None:
    """Gradio turns ssr_mode on by itself on Spaces; our page draws itself."""
    assert launch_options(page_data(catalog.EXHIBITS))["ssr_mode"] is False


def test_the_folder_holds_what_runs_and_nothing_else(tmp_path) -> None:
    space.lay_out(space.source(), tmp_path / "space")
    names = {p.relative_to(tmp_path / "space").parts[0] for p in (tmp_path / "space").rglob("*") if p.is_file()}
    assert names == {*space.WANTED, "requirements.txt"}
    with pytest.raises(SystemExit):
        space.lay_out(space.source(), tmp_path / "space")
