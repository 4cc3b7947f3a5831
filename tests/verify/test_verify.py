"""`sea verify`: a real chain of commands, then everything that can happen to its files, and hostile manifests."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seatools.streams.manifest import Manifest
from seatools.streams.provenance import read_chain, read_manifest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def chain(here: Path, shared: Path, sea: Callable) -> str:
    """raw.txt -> clean -> mix -> a tokenizer, by the commands themselves."""
    lines = (shared / "data/mono/en_commonvoice.txt").read_text().splitlines()[:120]
    Path("raw.txt").write_text("\n".join(lines) + "\n")
    model = shared / "models/stories260K"
    for argv in (
        ["clean", "en=raw.txt", "--dedup", "exact", "-o", "clean.jsonl"],
        ["mix", "en=clean.jsonl:1", "--tokenizer", model, "--budget", "2k", "-o", "mix.jsonl"],
        ["vocab-extend", model, "en=mix.jsonl", "--add", "5", "-o", "tok"],
    ):
        done = sea(*argv)
        assert done.code == 0, done.stderr
    return "tok"


def states(sea: Callable, *argv: object) -> tuple[int, dict[tuple[str, str], str]]:
    done = sea("verify", *argv, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return done.code, {
        (Path(row["manifest"]).name.split(".")[0] + ":" + row["role"], row["path"]): row["state"] for row in rows
    }


def test_a_chain_of_commands_then_each_thing_that_happens_to_it(chain: str, sea: Callable, tmp_path: Path) -> None:
    code, found = states(sea, chain)
    assert code == 0 and set(found.values()) == {"ok"}
    wanted = [("clean:input", "raw.txt"), ("mix:input", "clean.jsonl"), ("mix:parent", "clean.jsonl")]
    wanted += [("tok:input", "mix.jsonl"), ("tok:output", "tok/tokenizer.model")]
    assert [key for key in wanted if key not in found] == []

    shutil.copytree(".", tmp_path / "moved")  # and told to from elsewhere: names are relative to where it lies now
    Path("raw.txt").rename("raw")
    assert states(sea, tmp_path / "moved/tok.manifest.json") == (0, {key: "ok" for key in found})
    code, found = states(sea, "tok/")
    assert (code, found["clean:input", "raw.txt"]) == (3, "missing")
    Path("raw").rename("raw.txt")

    for path, at, edited in (
        ("raw.txt", ("clean:input", "raw.txt"), lambda data: data.replace(b"a", b"b")),
        ("tok/tokenizer.model", ("tok:output", "tok/tokenizer.model"), lambda data: data + b"x"),
        ("mix.jsonl", ("tok:input", "mix.jsonl"), lambda data: data[:-1]),
    ):
        before = Path(path).read_bytes()
        Path(path).write_bytes(edited(before))
        code, found = states(sea, chain)
        assert (code, found[at]) == (3, "changed")
        Path(path).write_bytes(before)

    done = sea("clean", "en=raw.txt", "-o", "clean.jsonl", "--force")  # made anew, other options, by chance equal bytes
    assert done.code == 0
    code, found = states(sea, chain)
    assert (code, found["mix:input", "clean.jsonl"], found["mix:parent", "clean.jsonl"]) == (3, "ok", "changed")
    Path("clean.jsonl.manifest.json").unlink()
    assert states(sea, chain)[1]["mix:parent", "clean.jsonl"] == "missing"
    Path("mix.jsonl.manifest.json").write_text("{}")
    code, found = states(sea, chain)
    assert code == 3 and "changed" in [state for (role, _), state in found.items() if role.endswith("manifest")]


def test_the_table_and_the_last_line(chain: str, sea: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seatools.verify.command.prints_jsonl", lambda asked: asked)
    Path("raw.txt").write_text("short")
    done = sea("verify", chain)
    text = done.stdout.decode()
    assert "  changed  input    raw.txt  (5 bytes, " in text and "  ok       output   clean.jsonl\n" in text
    assert done.stderr.splitlines()[-2] == "error: 1 of 16 does not match what was recorded"
    quiet = sea("verify", chain, "-q").stdout.decode()
    assert quiet.count("\n") == 1 and "raw.txt" in quiet


def make(output: str, *inputs: str, command: str = "mix") -> None:
    Path(output).write_text(output)
    manifest = Manifest(command)
    manifest.add_inputs(inputs, "ab" * 32)
    manifest.write(output)


def test_what_cannot_be_known(here: Path, sea: Callable) -> None:
    make("out", "-", "org/name-on-the-hub")
    code, found = states(sea, "out")
    assert (code, found["out:input", "-"], found["out:input", "org/name-on-the-hub"]) == (0, "unknown", "unknown")


def test_a_file_made_from_itself(here: Path, sea: Callable) -> None:
    Path("a").write_text("a")
    make("b", "a")
    make("a", "b")
    make("c", "b")
    done = sea("verify", "c")
    assert done.code == 3 and b"made from itself: " in done.stdout
    done = sea("replay", "c")
    assert done.code == 1 and "made from itself" in done.stderr and done.stdout == b""


def test_a_long_chain_is_no_recursion(here: Path) -> None:
    Path("f0").write_text("f0")
    body = {"schema": 2, "command": "mix", "argv": ["mix"], "outputs": [], "inputs": []}
    for number in range(1, 3001):
        Path(f"f{number}").touch()
        body["inputs"] = [{"path": f"f{number - 1}", "bytes": 0, "sha256": ""}]
        Path(f"f{number}.manifest.json").write_text(json.dumps(body))
    links = read_chain(["f3000"]).links
    assert [links[0].made.name, links[-1].made.name, len(links)] == ["f1", "f3000", 3000]


def test_a_shared_beginning_comes_once(here: Path) -> None:
    Path("raw").write_text("raw")
    make("a", "raw")
    make("b", "a")
    make("c", "a")
    make("d", "b", "c")
    assert [made.made.name for made in read_chain(["d", "b"]).links] == ["a", "b", "c", "d"]


BODY: dict[str, Any] = {"schema": 2, "command": "mix", "argv": ["mix"], "inputs": [], "outputs": []}


@pytest.mark.parametrize(
    "body",
    [
        "[]", "1", "{", "", "null", '{"schema": 2}',
        BODY | {"schema": 3}, BODY | {"schema": True}, BODY | {"argv": [1]}, BODY | {"argv": "mix"},
        BODY | {"inputs": {}}, BODY | {"inputs": [{}]}, BODY | {"inputs": [{"path": 1}]},
        BODY | {"inputs": [{"path": "a\0b"}]}, BODY | {"inputs": [{"path": ""}]},
        BODY | {"inputs": [{"path": "a", "bytes": "9"}]}, BODY | {"inputs": [{"path": "a", "sha256": 1}]},
        BODY | {"outputs": [{"path": "a", "files": [{"path": 1}]}]}, BODY | {"outputs": [{"path": "a", "files": 1}]},
        BODY | {"settings": [{"option": "--lr"}]}, BODY | {"run": []}, BODY | {"run": {"folder": 1}},
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_one_error(here: Path, sea: Callable, body: object) -> None:
    Path("x.manifest.json").write_text(body if isinstance(body, str) else json.dumps(body))
    for command in ("verify", "replay"):
        done = sea(command, "x")
        assert done.code == 1 and done.stderr.startswith("error: x.manifest.json: ") and done.stderr.count("\n") <= 2
        assert "defect of sea" not in done.stderr and done.stdout == b""


def test_hostile_paths_are_not_opened(here: Path, sea: Callable) -> None:
    """A named pipe would wait for ever, /dev/zero has no end, and nothing outside a folder was made in it."""
    os.mkfifo("pipe")
    Path("folder").mkdir()
    row = {"sha256": "00" * 32}
    inputs = [{"path": path, **row} for path in ("pipe", "/dev/zero", "/proc/self/mem", "x" * 5000, "a/" * 3000)]
    files = [{"path": name, "bytes": 1, **row} for name in ("../../etc/passwd", "..", "/etc/passwd")]
    body = BODY | {"inputs": inputs, "outputs": [{"path": "folder", "files": files}]}
    Path("folder.manifest.json").write_text(json.dumps(body))
    code, found = states(sea, "folder")
    assert code == 3  # those with names that are too long are missing
    assert {found["folder:input", path] for path in ("pipe", "/dev/zero", "/proc/self/mem")} == {"unknown"}
    assert {state for (role, _), state in found.items() if role == "folder:output"} == {"unknown"}


def test_names_that_move_the_cursor_are_told_as_text(
    here: Path, sea: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seatools.verify.command.prints_jsonl", lambda asked: asked)
    body = BODY | {"inputs": [{"path": "a\x1b[2Jb\nok", "bytes": 1, "sha256": "00"}]}
    Path("x.manifest.json").write_text(json.dumps(body))
    assert b"a\\x1b[2Jb\\nok" in sea("verify", "x").stdout


def test_names_that_are_not_utf8_are_found_again(here: Path, sea: Callable) -> None:
    name = os.fsdecode(b"th\xe9.jsonl")
    Path(name).write_text("x")
    make("out", name)
    code, found = states(sea, "out")
    assert code == 0 and set(found.values()) == {"ok"}


def test_manifests_of_the_schema_before_are_read(here: Path, sea: Callable) -> None:
    make("out")
    body = json.loads(Path("out.manifest.json").read_text())
    del body["settings"], body["run"]["folder"]
    Path("out.manifest.json").write_text(json.dumps(body | {"schema": 1}))
    assert states(sea, "out") == (0, {("out:output", "out"): "ok"})
    assert read_manifest("out").settings == []


@pytest.mark.parametrize(
    "damage",
    [
        {"options": json.loads("[" * 300 + "]" * 300)},
        {"inputs": [{"path": ".", "sha256": "00", "by_size": ["a\0"]}]},
        {"inputs": [{"path": ".", "sha256": "00", "by_size": [1]}]},
    ],
)
def test_an_input_with_a_hostile_manifest_is_read_as_one_without(here: Path, sea: Callable, damage: Any) -> None:
    Path("in.jsonl").write_text('{"text": "a"}\n')
    Path("in.jsonl.manifest.json").write_text(json.dumps(BODY | damage))
    assert sea("clean", "in.jsonl", "-o", "out.jsonl").code == 0
    assert "parent" not in json.loads(Path("out.jsonl.manifest.json").read_bytes())["inputs"][0]
    assert "unexpected" not in sea("verify", "in.jsonl").stderr


def test_a_broken_manifest_of_a_name_that_is_not_utf8_is_told(here: Path, sea: Callable) -> None:
    name = os.fsdecode(b"th\xe9.jsonl")
    Path(name).write_text("x")
    make("out", name)
    Path(f"{name}.manifest.json").write_text("[]")
    code, found = states(sea, "out")
    assert code == 3 and [state for (role, _), state in found.items() if role.endswith(":manifest")] == ["changed"]
