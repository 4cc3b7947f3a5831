"""Checks in other processes, as a script of the user's starts them."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import orjson
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
EARLY = "from seatools.text.cleaning import check_pool\ncheck_pool.POOL_FROM_BYTES = 0\n"  # not only after 8 MiB


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    texts = [f"{number}: " + "ข่าววันนี้ของกรุงเทพมหานคร " * (number % 3 + 2) for number in range(6)]
    (folder / "th.jsonl").write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts))
    (folder / "script.py").write_text(EARLY + script, encoding="utf-8")
    environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def example() -> str:
    """The example of docs/cleaning.md, with two workers on any machine."""
    page = (REPOSITORY / "docs/cleaning.md").read_text(encoding="utf-8")
    found = re.search(r"## From Python\n\n((?:    .*\n|\n)+)", page)
    assert found is not None
    return textwrap.dedent(found.group(1)).replace("quality=True))", "quality=True), workers=2)")


def test_the_example_of_the_page_runs_as_a_script(tmp_path: Path, example: str) -> None:
    done = run(tmp_path, example)
    assert done.returncode == 0, done.stderr
    assert "workers=2" in example and done.stdout.splitlines()[-1].startswith("6 documents: ")


def test_a_script_without_the_guard_is_told_what_to_do(tmp_path: Path, example: str) -> None:
    body = example.replace('if __name__ == "__main__":', "if True:")
    done = run(tmp_path, body)
    assert done.returncode != 0
    assert "SeaError: a process that checks documents ended early" in done.stderr
