"""The README's tables are what the stored claims and networks say, not what somebody typed."""

from pathlib import Path

from benchmarks import readme

README = Path(readme.ROOT / "README.md")


def test_the_tables_are_fresh() -> None:
    text = README.read_text()
    assert readme.render(text) == text, "run `python -m benchmarks.readme`"


def test_a_changed_claim_would_be_noticed() -> None:
    text = README.read_text()
    assert readme.render(text.replace("| yes |", "| no |", 1)) == text


def test_figures_keep_three_digits() -> None:
    assert [readme.figure(x, "dB") for x in (0.12345, 31.25, 12345.6)] == ["0.123 dB", "31.2 dB", "12,346 dB"]
