"""The Space, from `spaces.yaml`: `python -m benchmarks.space` writes the README's head and requirements-space.txt.

    python -m benchmarks.space                                                  # after a change of spaces.yaml
    python -m benchmarks.space FOLDER                                           # lay out what the Space needs
    hf upload YOUR-NAME/unfold FOLDER --repo-type space                         # send it there

A Space reads its settings from the head of its README.md, and installs its requirements.txt. The head stands in our
own README too, so that a clone pushed to a Space as it is starts as well, only with the larger, common requirements.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
HEAD = re.compile(r"\A---\n.*?\n---\n\n?", re.S)
MADE = "# Written by `python -m benchmarks.space` from spaces.yaml.\n"
# What runs there, and its terms.
WANTED = ("app.py", "components", "engines", "assets", "LICENSE", "README.md", "SECURITY.md")


def source() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "spaces.yaml").read_text(encoding="utf-8"))


def head(space: dict[str, Any]) -> str:
    """The YAML head of the README, with its fences."""
    card = space["card"] | {
        "sdk_version": space["pins"]["gradio"],
        "python_version": space["python"],
        "suggested_hardware": space["hardware"],
    }
    return f"---\n{yaml.safe_dump(card, sort_keys=False, allow_unicode=True)}---\n\n"


def readme(space: dict[str, Any], text: str) -> str:
    """The README with its head replaced, or put in front."""
    return head(space) + HEAD.sub("", text)


def requirements(space: dict[str, Any]) -> str:
    """The Space's requirements.txt. Gradio is not in it: the Space installs the version that the card names."""
    pins = "".join(f"{name}=={version}\n" for name, version in space["pins"].items() if name != "gradio")
    return f"{MADE}--extra-index-url {space['index']}\n{pins}"


def write(space: dict[str, Any]) -> None:
    path = ROOT / "README.md"
    path.write_text(readme(space, path.read_text(encoding="utf-8")), encoding="utf-8")
    (ROOT / "requirements-space.txt").write_text(requirements(space), encoding="utf-8")


def lay_out(space: dict[str, Any], folder: Path) -> None:
    """Copy what the Space needs into an empty or new folder: tracked files only, its own requirements.

    Raises SystemExit where the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty; name a new folder")
    tracked = subprocess.run(["git", "ls-files", "-z", *WANTED], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    (folder / "requirements.txt").write_text(requirements(space), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.space", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="lay out here what is uploaded")
    folder = parser.parse_args().folder
    space = source()
    write(space)
    if folder:
        lay_out(space, folder)


if __name__ == "__main__":
    main()
