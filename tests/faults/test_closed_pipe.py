"""A reader that goes away (`| head -1`): exit code 141 and not a word; a stdout or stdin that was never there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faults.conftest import Server
from faults.jobs import JOBS, Job


@pytest.mark.parametrize("job", [job for job in JOBS if job.stdout], ids=lambda job: job.name)
def test_a_closed_pipe_ends_the_command_quietly(job: Job, server: Server, inputs: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    *words, _, _ = job.argv(inputs, Path("-"))
    ended = server.run(*words, stdout=str(pipe), meanwhile=lambda: os.close(os.open(pipe, os.O_RDONLY)))
    assert ended.code == 141, ended
    assert not [line for line in ended.stderr.splitlines() if "error" in line or "Traceback" in line]


def test_a_pipe_that_dribbles_its_magic_number_is_still_decompressed(server: Server, tmp_path: Path) -> None:
    import gzip
    import time

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = gzip.compress(b'{"text": "a"}\n', mtime=0)

    def dribble() -> None:
        with open(pipe, "wb", buffering=0) as stream:
            stream.write(data[:1])
            time.sleep(0.5)
            stream.write(data[1:])

    ended = server.run("mix", "a=-", "--unit", "docs", stdin=str(pipe), meanwhile=dribble)
    assert ended.code == 0 and ended.stdout == b'{"text": "a"}\n', ended
