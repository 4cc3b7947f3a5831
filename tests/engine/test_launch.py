"""`--nproc`: N processes of the same command, their signals and exit codes; and the Slurm script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from seatools.engine.launch import must_launch, num_processes, relaunch, slurm_script
from seatools.streams.errors import UsageError

# In the place of `sea`: says who it is, and ends as its arguments tell it.
WORKER = """
import os, signal, sys, time
rank = os.environ["RANK"]
print("rank", rank, "of", os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"], os.environ["MASTER_ADDR"], flush=True)
print("says", rank, file=sys.stderr, flush=True)
how = dict(word.split("=") for word in sys.argv[1:]).get(rank, "0")
if how.startswith("wait"):
    got = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda n, f: got.append(n))
    open(os.environ["READY"] + rank, "w").close()
    while not got:
        time.sleep(0.01)
    open(os.environ["READY"] + rank + ".got", "w").write(signal.Signals(got[0]).name)
    how = "75" if how == "wait" else how[4:]
if how == "sleep":
    time.sleep(60)
if how == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(how))
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "fake" / "seatools").mkdir(parents=True)
    (tmp_path / "fake" / "seatools" / "__init__.py").touch()
    (tmp_path / "fake" / "seatools" / "__main__.py").write_text(WORKER)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "fake"), "READY": str(tmp_path / "ready")}


def test_only_rank_0_prints_and_all_must_end_well(capfd: Any, environ: dict[str, str]) -> None:
    assert relaunch([], 3, environ=environ) == 0
    out, err = capfd.readouterr()
    assert out == "rank 0 of 3 0 127.0.0.1\n"
    assert err == "says 0\n"


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        (["0=75", "1=75"], 75),
        (["0=2", "1=2"], 2),
        (["1=3"], 3),
        (["1=kill"], 128 + 9),
        (["0=1", "1=sleep"], 1),  # who waits for a dead one is ended
        (["0=sleep", "1=4"], 4),
    ],
)
def test_the_exit_code_is_that_of_the_first_to_fail(
    capfd: Any, environ: dict[str, str], ends: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seatools.engine.launch._FAILED", 0.3)
    began = time.monotonic()
    assert relaunch(ends, 2, environ=environ) == code
    assert time.monotonic() - began < 20
    err = capfd.readouterr().err
    assert ("rank 1 ended with" in err) == (code not in (75, 2, 1))
    assert ("says 1" in err) == ("rank 1 ended" in err)
    assert ("SIGKILL" in err) == (ends == ["1=kill"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_reach_all_and_75_comes_back(environ: dict[str, str], number: signal.Signals, tmp_path: Path) -> None:
    def send() -> None:
        while not all((tmp_path / f"ready{rank}").exists() for rank in range(2)):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=send, daemon=True).start()
    assert relaunch(["0=wait", "1=wait"], 2, environ=environ) == 75
    assert [(tmp_path / f"ready{rank}.got").read_text() for rank in range(2)] == [number.name] * 2
    assert signal.getsignal(number) == before


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_a_parent_that_is_killed_leaves_no_orphans(environ: dict[str, str], tmp_path: Path) -> None:
    code = "import sys; from seatools.engine.launch import relaunch; relaunch(['0=wait', '1=wait'], 2)"
    real = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(real)!r}); {code}"], env=environ, cwd=real
    )
    deadline = time.monotonic() + 20
    while not all((tmp_path / f"ready{rank}").exists() for rank in range(2)) and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    while not all((tmp_path / f"ready{rank}.got").exists() for rank in range(2)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [(tmp_path / f"ready{rank}.got").read_text() for rank in range(2)] == ["SIGTERM"] * 2


def test_a_process_that_has_a_rank_launches_nothing() -> None:
    torchrun = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    step = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "5"}
    assert must_launch(2, {}) and not must_launch(1, {})
    assert not must_launch(2, torchrun)
    assert not must_launch(2, torchrun | {"RANK": "0", "WORLD_SIZE": "1"})
    assert not must_launch(2, step | {"SLURM_STEP_NODELIST": "n1"})
    # one task that srun or sbatch gave a whole machine
    assert must_launch(2, {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"})
    assert must_launch(2, {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"})  # fmt: skip


def test_auto_counts_the_gpus_that_are_visible() -> None:
    assert num_processes("3") == 3
    assert num_processes("auto", {"CUDA_VISIBLE_DEVICES": "0,3"}) == 2
    assert num_processes("auto", {"CUDA_VISIBLE_DEVICES": ""}) == 1
    assert num_processes("auto", {}) >= 1
    for wrong in ("0", "-1", "two", "1.5", ""):
        with pytest.raises(UsageError, match="--nproc"):
            num_processes(wrong)


def test_the_slurm_script_saves_in_time_and_queues_itself_again(tmp_path: Path) -> None:
    words = [
        "train",
        "my model",
        "th.jsonl",
        "-o",
        "OUT",
        "--nproc",
        "8",
        "--force",
        "--print-launch=slurm",
        "--lr",
        "1",
    ]
    script = slurm_script(words, 8, 2)
    assert "srun --kill-on-bad-exit=0 --wait=120 sea train 'my model' th.jsonl -o OUT --lr 1 --resume\n" in script
    for line in ("--nodes=2", "--ntasks-per-node=8", "--signal=USR1@120", "--requeue"):
        assert f"#SBATCH {line}\n" in script
    # Run by a shell, with stand-ins for Slurm's commands.
    (tmp_path / "script").write_text(script)
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@"\n')
    for code, said in ((75, "requeue 42\n"), (1, ""), (0, "")):
        (tmp_path / "srun").write_text(f"#!/bin/sh\nexit {code}\n")
        for name in ("srun", "scontrol"):
            (tmp_path / name).chmod(0o755)
        done = subprocess.run(
            ["bash", str(tmp_path / "script")], capture_output=True, text=True,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "42"},
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (code, said)


def test_the_parent_does_not_import_torch() -> None:
    code = "import sys, seatools.engine.launch; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
