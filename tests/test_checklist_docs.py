"""docs/checklist.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
TEXT = (TESTS.parent / "docs/checklist.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("line", [row for row in ROWS if "test_" in row])
def test_the_tests_that_a_line_names_are_there(line: str) -> None:
    files = re.findall(r"`((?:[a-z_]+/)*test_\w+)`", line)
    assert files
    sources = [(TESTS / f"{name}.py").read_text(encoding="utf-8") for name in files]
    for words in re.findall(r": ([a-z_0-9*]+(?:, [a-z_0-9*]+)*)", line):
        for name in words.split(", "):
            if "_" in name:
                assert any(f"def test_{name.rstrip('*')}" in source for source in sources), name
