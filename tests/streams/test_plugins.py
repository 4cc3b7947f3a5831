"""Plugins: a real package with its metadata on the path, used by the commands, and everything wrong that one can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seatools.streams import plugins
from seatools.streams.errors import SeaError, UsageError

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = '''
import pathlib, sys
TASK = pathlib.Path(__file__).with_name("task.toml")
def count(argv):
    """Tells how many words it got."""
    print(len(argv))
    return 3
def is_lao(text):
    return "lao" if "ລ" in text else None
is_lao.languages = ("lo", "th")
def exclamations(text, lang):
    return text.count("!") / len(text) if text else None
exclamations.version = 2
def broken(*arguments):
    raise KeyError("oh\\nno")
def text_of_task():
    return TASK.read_text()
NUMBER = 7
'''
TASK = (REPOSITORY / "seatools/eval/tasks/xcopa.toml").read_text(encoding="utf-8")
ENTRIES = """
[sea.commands]
count = sea_more:count
gone = sea_more:not_there
module = sea_more_command
number = sea_more:NUMBER
[sea.tasks]
mine = sea_more:TASK
made = sea_more:text_of_task
badtask = sea_more:NUMBER
[sea.lid]
isl = sea_more:is_lao
nolangs = sea_more:count
[sea.filters]
exclamations = sea_more:exclamations
fails = sea_more:broken
"""


def install(folder: Path, name: str, entries: str, files: dict[str, str]) -> None:
    """What an installer leaves: modules, and `NAME-1.2.dist-info`."""
    folder.mkdir(exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on sys.path with one distribution that brings plugins of all kinds."""
    folder = tmp_path / "site"
    files = {"sea_more.py": CODE, "task.toml": TASK, "sea_more_command.py": "def main(argv):\n    return 0\n"}
    install(folder, "sea-more", ENTRIES, files)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv(plugins.SELECTION, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("sea_more", "sea_more_command"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def test_names_are_known_from_metadata_alone(site: Path) -> None:
    found = plugins.plugins("sea.commands")["count"]
    assert (found.distribution, found.version, found.value) == ("sea-more", "1.2", "sea_more:count")
    assert "sea_more" not in sys.modules


def test_a_command(site: Path, sea: Callable) -> None:
    done = sea("count", "a", "--b")
    assert (done.code, done.stdout) == (3, b"2\n")
    assert sea("module").code == 0
    done = sea("number")
    assert done.code == 1 and 'the plugin "number" of sea-more cannot be used' in done.stderr
    done = sea("gone")
    assert done.code == 1 and done.stderr.count("\n") == 2
    assert done.stderr.startswith('error: the plugin "gone" of sea-more cannot be loaded: AttributeError: ')
    assert sea("cuont").code == 2


def test_a_task(site: Path) -> None:
    from seatools.eval.task_file import load_task

    assert load_task("mine").type == load_task("made").type == load_task("xcopa").type
    with pytest.raises(SeaError, match='"badtask" of sea-more gives no task'):
        load_task("badtask")
    with pytest.raises(UsageError, match='no task "minne"'):
        load_task("minne")


def test_language_identification(site: Path, sea: Callable) -> None:
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in ("ສະບາຍດີ ລາວ", "hello there")]
    Path("in.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    done = sea("clean", "in.jsonl", "--lang", "lo", "--lang-id", "isl")
    assert done.code == 0 and done.stdout.decode() == rows[0] + "\n"
    done = sea("clean", "in.jsonl", "--lang", "lo", "--lang-id", "nolangs")
    assert done.code == 1 and '"nolangs" of sea-more' in done.stderr
    assert sea("clean", "in.jsonl", "--lang", "lo", "--lang-id", "other").code == 2


def test_a_quality_rule_is_used_where_the_users_file_names_it(site: Path, sea: Callable) -> None:
    good, loud = "A quiet and sensible sentence of some length. " * 3, "A loud sentence! " * 8
    Path("in.jsonl").write_text("".join(json.dumps({"text": text, "lang": "en"}) + "\n" for text in (good, loud)))
    assert sea("clean", "in.jsonl", "--quality").stdout.count(b"\n") == 2  # installing it changed nothing
    Path("rules.toml").write_text("[en]\nexclamations = {max = 0.01}\n")
    done = sea("clean", "in.jsonl", "--quality", "--quality-rules", "rules.toml", "--rejects", "bad.jsonl")
    assert done.code == 0 and json.loads(done.stdout)["text"] == good
    assert '"exclamations.v2"' in Path("bad.jsonl").read_text().replace("\\", "")
    Path("rules.toml").write_text("[en]\nfails = {max = 1}\n")
    done = sea("clean", "in.jsonl", "--quality", "--quality-rules", "rules.toml")
    assert done.code == 1
    assert done.stderr.startswith('error: the plugin "fails" of sea-more failed: KeyError: ') and "\\nno" in done.stderr


def test_they_are_turned_off_and_chosen(site: Path, sea: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.SELECTION, "")
    assert sea("count").code == 2 and sea("plugins", "--json").stdout == b""
    monkeypatch.setenv(plugins.SELECTION, "other")
    assert sea("count").code == 2
    monkeypatch.setenv(plugins.SELECTION, "other, Sea_More")
    assert sea("count").code == 3


def test_the_list_names_what_cannot_be_used(site: Path, sea: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.SELECTION, "sea-more,sea-thief")
    done = sea("plugins", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.code == 0 and {row["name"] for row in rows} >= {"count", "mine", "isl", "exclamations"}
    done = sea("plugins", "--load")
    assert done.code == 3 and 'not usable: "gone" of sea-more' in done.stderr
    entries = "[sea.commands]\nmix = sea_more:count\n[sea.tasks]\nxquad = sea_more:TASK\nmine = sea_more:TASK\n"
    entries += "[sea.lid]\ncld2 = sea_more:is_lao\n[sea.filters]\nchars = sea_more:exclamations\n"
    install(site.parent / "site2", "sea-thief", entries, {})
    monkeypatch.syspath_prepend(str(site.parent / "site2"))
    done = sea("plugins", "--json")
    why = {(row["name"], row["distribution"]): row["why"] for row in map(json.loads, done.stdout.splitlines())}
    taken = [why[name, "sea-thief"] for name in ("mix", "xquad", "cld2", "chars")]
    assert done.code == 3 and taken == ["the name is built in"] * 4
    assert why["mine", "sea-thief"] == why["mine", "sea-more"] == "several distributions bring this name"
    assert b"usage: sea mix" in sea("mix", "--help").stdout  # ours, still
    with pytest.raises(UsageError, match='both sea-.* and sea-.* bring a plugin "mine"'):
        plugins.find_plugin("sea.tasks", "mine")


def test_what_is_built_in_pays_nothing_for_plugins(site: Path) -> None:
    code = (
        "import sys; from seatools import cli; cli.main(sys.argv[1:]);"
        " print('importlib.metadata' in sys.modules, 'sea_more' in sys.modules, file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{site}"}
    for argv in (["--help"], ["clean", "--help"], ["eval", "--help"], ["--version"]):
        done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, env=environment)
        assert done.stderr.splitlines()[-1] == "False False", argv


@pytest.mark.parametrize("content", [b"[sea.commands]\nhello\n", b"hello = a:b\n[sea.commands]\nhello", b"\xff"])
def test_metadata_that_cannot_be_read_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_bytes(b"Name: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SeaError, match="cannot be read") as error:
        plugins.installed("sea.commands", {})
    assert error.value.where == str(folder)
    assert plugins.installed("sea.commands", {plugins.SELECTION: "another"}) == []
