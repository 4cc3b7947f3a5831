"""Checkpoints of a run under kill -9, a full disk and a busy thread: complete or invisible, the last good one kept."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_runs import Case

from seatools.engine.checkpoint import Snapshot, latest_checkpoint, write_snapshot
from seatools.engine.checkpoint_writer import CheckpointWriter
from seatools.engine.step_figures import CLOCK_FIELDS
from seatools.engine.world import SINGLE, World
from seatools.streams.errors import SeaError

CASE = "untied"


def run(out: Path, *, resume: bool = False, **options: Any) -> int:
    return Case(CASE, SINGLE).steps(out, resume=resume, **({"save_every": 1, "keep": 2} | options))


def metrics(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_bytes().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCK_FIELDS} for line in lines]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight")
    run(out)
    return out


def in_a_child(work: Callable[[], Any]) -> int:
    """The exit code of a forked process that does `work`: -9 where it was killed."""
    if torch.cuda.is_initialized():
        pytest.skip("a process that has used a GPU cannot be forked")
    torch.set_num_threads(1)
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


def dies(module: str, name: str, number: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Make the `number`th call of module.name the moment of a kill -9, its work half done where it writes."""

    def arrange(patch: pytest.MonkeyPatch) -> None:
        import importlib

        owner = importlib.import_module(module)
        real, calls = getattr(owner, name), []

        def killing(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) < number:
                return real(*args, **kwargs)
            if name == "save_file":
                real(*args, **kwargs)
                os.truncate(args[1], os.path.getsize(args[1]) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

        patch.setattr(owner, name, killing)

    return arrange


# Each save writes two files (each synced), state.json (synced), syncs its folder, renames.
MOMENTS = {
    "in a step": dies("rank_runs", "make_batch", 8),
    "in the model's file": dies("safetensors.torch", "save_file", 5),
    "in the optimiser's file": dies("safetensors.torch", "save_file", 6),
    "before state.json": dies("seatools.engine.checkpoint", "sync_file", 8),
    "after state.json": dies("seatools.engine.checkpoint", "sync_file", 9),
    "before the rename": dies("seatools.engine.checkpoint", "sync_folder", 5),
    "after the rename": dies("seatools.engine.checkpoint", "sync_folder", 6),
    "while old ones go": dies("seatools.engine.checkpoint_writer", "checkpoints_in", 3),
}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_is_resumed_to_the_same_bits(
    straight: Path, tmp_path: Path, moment: str, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        MOMENTS[moment](patch)
        assert in_a_child(lambda: run(out, async_save=asynchronous)) == -signal.SIGKILL
    assert latest_checkpoint(out) is not None
    assert 1 <= run(out, resume=True) < 4
    assert metrics(out) == metrics(straight)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-3", "step-4"]
    for name in ("model.safetensors", "optimizer.safetensors"):
        mine, theirs = (folder / "checkpoints" / "step-4" / name for folder in (out, straight))
        assert mine.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_full_disk_keeps_the_last_good_checkpoint_and_says_what_to_do(
    straight: Path, tmp_path: Path, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    import safetensors.torch

    real, calls = safetensors.torch.save_file, []

    def save_file(*args: Any) -> None:
        calls.append(1)
        if len(calls) == 6:
            Path(args[1]).write_bytes(b"some of it")
            raise OSError(28, "No space left on device", str(args[1]))
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", save_file)
        with pytest.raises(SeaError, match="step 3 cannot be written: No space left on device") as caught:
            run(out, async_save=asynchronous)
    assert "--resume" in str(caught.value.fix)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-1", "step-2"]
    assert run(out, resume=True) == 2
    assert metrics(out) == metrics(straight)


def test_a_file_that_the_system_refuses_to_grow_is_reported_alike(tmp_path: Path) -> None:
    """safetensors raises an error of its own there; the limit is real."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        try:
            run(tmp_path / "run")
        except SeaError as error:
            (tmp_path / "said").write_text(str(error))

    assert in_a_child(limited) == 0
    assert "the checkpoint of step 1 cannot be written" in (tmp_path / "said").read_text()
    assert "File too large" in (tmp_path / "said").read_text()
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_an_asynchronous_save_writes_what_was_there_when_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a file is being written the weights move on; a second save waits for the first."""
    import safetensors.torch

    real, go, begun = safetensors.torch.save_file, threading.Event(), threading.Event()

    def slow(*args: Any) -> None:
        begun.set()
        assert go.wait(30)
        real(*args)

    monkeypatch.setattr(safetensors.torch, "save_file", slow)
    case = Case(CASE, SINGLE)
    weight = case.model.lm_head.weight
    before = weight.detach().clone()
    with CheckpointWriter(tmp_path, keep=2, asynchronous=True) as writer:
        writer.save(case.model, case.optimizer, {"step": 1})
        assert begun.wait(30)
        with torch.no_grad():
            weight.add_(1)
        threading.Timer(0.2, go.set).start()
        writer.save(case.model, case.optimizer, {"step": 2})
        assert (tmp_path / "step-1").exists()
    saved = [safetensors.torch.load_file(tmp_path / f"step-{n}" / "model.safetensors") for n in (1, 2)]
    assert torch.equal(saved[0]["lm_head.weight"], before)
    assert torch.equal(saved[1]["lm_head.weight"], before + 1)


class OneOfTwo(World):
    """The main process of two, the other of which agrees with all it says."""

    def agree(self, *flags: bool, group: Any = None) -> tuple[bool, ...]:
        return flags


def test_a_checkpoint_without_a_file_of_another_process_stays_invisible(tmp_path: Path) -> None:
    """On a network folder the other's file may not be there yet when its writer says so."""
    world = OneOfTwo(0, 2, 0, None)
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    snapshot = Snapshot(1, {"step": 1}, {names[0]: ({"weight": torch.zeros(2)}, {})}, names)
    folder = tmp_path / "checkpoints" / "step-1"
    with pytest.raises(SeaError, match="step 1 cannot be written: No such file"):
        write_snapshot(folder, snapshot, world=world)
    assert list(folder.parent.iterdir()) == []


def test_an_old_checkpoint_that_cannot_be_removed_does_not_end_the_run(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network folder keeps, as .nfs files, what somebody reads; the rest goes, and the next save tries again."""
    out, remove = tmp_path / "run", os.rmdir

    def rmdir(path: Any, **options: Any) -> None:
        if str(path).endswith("step-1"):
            raise OSError(39, "Directory not empty")
        remove(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", rmdir)
        run(out)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-1", "step-3", "step-4"]
    assert metrics(out) == metrics(straight)
    left = latest_checkpoint(out)
    assert left is not None and left.name == "step-4"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_checkpoint_written_behind_the_back_of_a_gpu_is_whole(tmp_path: Path) -> None:
    from seatools.engine.checkpoint import load_checkpoint
    from seatools.engine.optimise import MasterAdamW

    model = Case(CASE, SINGLE).model.to("cuda")
    optimizer = MasterAdamW(list(model.named_parameters()))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with CheckpointWriter(tmp_path, keep=1, asynchronous=True) as writer:
        writer.save(model, optimizer, {"step": 1})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
    load_checkpoint(tmp_path / "step-1", model=model, optimizer=optimizer)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


@pytest.mark.parametrize("resume", [False, True])
def test_what_a_killed_save_left_is_cleared(straight: Path, tmp_path: Path, resume: bool) -> None:
    out = tmp_path / "run"
    run(out, max_steps=4)
    for name in ("step-3.tmp", "step-9.tmp", "step-2.tmp-replaced"):
        (out / "checkpoints" / name).mkdir()
    run(out, resume=resume)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-3", "step-4"]
