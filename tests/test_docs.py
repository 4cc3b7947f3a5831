"""What is generated in docs/ is what the generators write; man pages render without a word."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seatools.cli import COMMANDS
from seatools.help.definitions import definitions

PAGES = {"clean": "cleaning", "verify": "provenance", "replay": "provenance"}  # of others: NAME.md
DOCS = Path(__file__).resolve().parent.parent / "docs"


def generated(script: str) -> dict[str, str]:
    """What a generator in docs/ would write, by file name."""
    code = f"import runpy, json; print(json.dumps(runpy.run_path({str(DOCS / script)!r})['generated']()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_man_pages_are_current() -> None:
    pages = generated("man_pages.py")
    assert set(pages) == {path.name for path in (DOCS / "man").glob("*.1")}, "run `make man`"
    for name, text in pages.items():
        assert (DOCS / "man" / name).read_text("utf-8") == text, f"run `make man` ({name})"


def test_generated_parts_of_pages_are_current() -> None:
    pages = generated("generated_parts.py")
    assert {name for name in pages if name.startswith("reference/")} == {
        f"reference/{path.name}" for path in (DOCS / "reference").glob("*.md")
    }
    for name, text in pages.items():
        assert (DOCS / name).read_text("utf-8") == text, f"run `make docs` ({name})"


def test_every_command_has_a_page_that_the_site_shows() -> None:
    """One that explains it with real output, and one with every option."""
    shown = (DOCS.parent / "mkdocs.yml").read_text("utf-8")
    for name in COMMANDS:
        page = PAGES.get(name, name)
        assert f"sea {name}" in (DOCS / f"{page}.md").read_text("utf-8")
        assert f": {page}.md" in shown and f": reference/{name}.md" in shown, name


@pytest.mark.parametrize("name", ["sea", "sea-audit", "sea-train", "sea-lsn-detect", "sea-eval-compare"])
def test_man_renders_the_pages_silently(name: str) -> None:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("no man and groff here")
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(DOCS / "man" / f"{name}.1")], capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_man_pages_hold_every_option_as_it_is_typed() -> None:
    if shutil.which("mandoc") is None and shutil.which("man") is None:
        pytest.skip("no man here")
    for name in ("train", "lsn-detect select"):
        page = DOCS / "man" / f"sea-{name.replace(' ', '-')}.1"
        shown = subprocess.run(["man", "-l", str(page)], capture_output=True, text=True, env={"MANWIDTH": "200"}).stdout
        shown = re.sub(".\b", "", shown)
        for option in definitions()[name].options:
            assert all(re.search(rf"(?<![\w-]){spelled}(?![\w-])", shown) for spelled in option.names), option.names
