"""Where nothing can be written, and what goes away while it is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faults.conftest import Disk, Server
from faults.jobs import BY_NAME, JOBS, Job, content, hidden, visible
from faults.test_full_disk import put_old


def test_a_read_only_disk_is_told_and_stays_as_it_is(server: Server, inputs: Path, disk: Disk) -> None:
    for job in JOBS:
        put_old(job, disk.path / job.out)
    before = {job.name: content(disk.path / job.out) for job in JOBS}
    disk.read_only()
    for job in JOBS:
        ended = server.run(*job.argv(inputs, disk.path / job.out), "--force")
        assert ended.code in (1, 2) and ended.is_told() and "ead-only" in ended.stderr, (job.name, ended)
        assert content(disk.path / job.out) == before[job.name]
    assert visible(disk.path) == {job.out for job in JOBS} and not hidden(disk.path)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_file_in_place_of_the_folder_is_told_at_the_door(
    job: Job, server: Server, inputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    ended = server.run(*job.argv(inputs, tmp_path / "file" / job.out))
    assert ended.code == 2 and ended.is_told(), ended
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.parametrize("words", [["clean"], ["mix", "--unit", "docs"], ["audit"]], ids=lambda words: words[0])
def test_a_file_that_vanishes_before_its_turn_is_told(
    words: list[str], server: Server, inputs: Path, tmp_path: Path
) -> None:
    """The first input is a pipe that gives its text once the second is gone: named, found, and not there any more."""
    pipe, second, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "out.jsonl"
    os.mkfifo(pipe)
    second.write_bytes((inputs / "en.jsonl").read_bytes())

    def vanish() -> None:
        with pipe.open("wb") as stream:
            second.unlink()
            stream.write((inputs / "th.jsonl").read_bytes())

    command, *flags = words
    named = [f"a={pipe}", f"b={second}"] if command == "mix" else [str(pipe), str(second)]
    tokenizer = [inputs / "model"] if command == "audit" else []
    ended = server.run(command, *tokenizer, *named, *flags, "-o", out, meanwhile=vanish)
    assert ended.code == 1 and ended.is_told() and "b.jsonl" in ended.stderr, ended
    assert not out.exists() and not hidden(tmp_path)


def test_a_model_that_is_cut_off_is_told(server: Server, inputs: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in (inputs / "model").iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    ended = server.run("embed-init", model, "--tokenizer", inputs / "extended", "-o", tmp_path / "out")
    assert ended.code == 1 and ended.is_told(), ended
    ended = server.run("sample", model, inputs / "prompts.jsonl", "--device", "cpu")
    assert ended.code == 1 and ended.is_told(), ended


def test_temporary_files_are_private(server: Server, inputs: Path, tmp_path: Path) -> None:
    """What stdin says is kept for its owner alone while the model is loaded; the output is as the umask has it."""
    from seatools.streams.inputs import SPOOL_PREFIX

    pipe, seen = tmp_path / "pipe", []
    os.mkfifo(pipe)

    def look() -> None:
        with pipe.open("wb") as stream:
            stream.write((inputs / "prompts.jsonl").read_bytes())
            stream.flush()
            for _ in range(200):
                found = [f for place in ("/tmp", tmp_path) for f in Path(place).glob(f"{SPOOL_PREFIX}*")]
                seen.extend(file.stat().st_mode & 0o777 for file in found)
                if seen:
                    return
                import time

                time.sleep(0.02)

    *words, _, _ = BY_NAME["sample"].argv(inputs, Path("-"))
    words[2] = "-"
    ended = server.run(*words, stdin=str(pipe), meanwhile=look)
    assert ended.code == 0, ended
    assert seen and set(seen) == {0o600}
