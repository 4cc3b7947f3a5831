"""Two processes train what one trains: losses, norms, weights, resuming either way, and ends that all ranks share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_runs import CASES, LENGTH, STEPS, Case, only_step_2, row

from seatools.engine.checkpoint import latest_checkpoint
from seatools.engine.loss import target_log_probs
from seatools.engine.row_order import micro_batches
from seatools.engine.rows import make_batch
from seatools.engine.world import SINGLE

# One worker of xdist for all of them (--dist loadgroup): the runs cost ten to twenty seconds.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("two-processes")]
# Of losses around 5 and norms around 10. bf16 weights are multiplied in bf16, where the order of adding shows.
TOLERANCE = dict.fromkeys(CASES, 1e-6) | {"bf16": 2e-3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases by one process and by two, and the second half of one's by two."""
    from seatools.engine.launch import _free_port

    out = tmp_path_factory.mktemp("runs")
    for name in CASES:
        Case(name, SINGLE).steps(out / "one" / name)
        only_step_2(out / "one" / name, out / "one-two" / name)
    script = Path(__file__).parents[1] / "rank_runs.py"
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(out)],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    try:
        said = [worker.communicate(timeout=240)[1].decode() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(said)
    return out


def results(runs: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((runs / f"results-{rank}.json").read_text())
    return found


def curve(out: Path) -> list[tuple[float, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [(line["loss"], line["grad_norm"]) for line in lines]


def same_curve(one: Path, two: Path, tolerance: float) -> None:
    for (loss, norm), (other_loss, other_norm) in zip(curve(one), curve(two), strict=True):
        assert other_loss == pytest.approx(loss, rel=tolerance)
        assert other_norm == pytest.approx(norm, rel=10 * tolerance)


def test_what_is_saved_after_an_evaluation_is_saved_as_after_a_step(runs: Path) -> None:
    """An evaluation leaves no weight whole, or in bf16, for the save of a run that it ends."""
    for rank in range(2):
        found = results(runs, rank)
        assert (found["forgotten"], found["remembered"]) == ("CheckFailed: forgotten", 3)
    lines = [json.loads(line) for line in (runs / "forgotten" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses == [loss for loss, _ in curve(runs / "two" / "bf16")]
    saved = latest_checkpoint(runs / "forgotten")
    assert saved is not None
    files = [json.loads((folder / "state.json").read_text())["files"] for folder in (saved, saved.parent / "step-3")]
    assert files[0].keys() == files[1].keys() and len(files[1]) == 4


def test_the_words_of_one_process_reach_all(runs: Path) -> None:
    assert [results(runs, rank)["first"] for rank in range(2)] == [["of 1", "of 0", None]] * 2


def test_processes_that_disagree_on_resuming_look_for_the_run_together(runs: Path) -> None:
    """Looking is a talk of all of them: alone, one would wait for ever."""
    assert [results(runs, rank)["uneven"] for rank in range(2)] == [0, 0]
    same_curve(runs / "one" / "selection", runs / "uneven", TOLERANCE["selection"])


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_trains(runs: Path, name: str) -> None:
    """Ranks with unequal rows, targets and micro-batches, one of them empty; clipping, which sees the whole norm."""
    assert len(curve(runs / "two" / name)) == STEPS
    same_curve(runs / "one" / name, runs / "two" / name, TOLERANCE[name])
    losses = [loss for loss, _ in curve(runs / "two" / name)]
    assert len(set(losses)) == STEPS


@pytest.mark.parametrize("name", CASES)
def test_a_run_of_one_is_continued_by_two(runs: Path, name: str) -> None:
    assert results(runs, 0)[name] == 2  # the step they began from
    same_curve(runs / "one" / name, runs / "one-two" / name, TOLERANCE[name])


@pytest.mark.parametrize("name", CASES)
def test_a_run_of_two_is_continued_by_one(runs: Path, name: str, tmp_path: Path) -> None:
    out = only_step_2(runs / "two" / name, tmp_path / "run")
    assert Case(name, SINGLE).steps(out, resume=True) == 2
    same_curve(runs / "one" / name, out, TOLERANCE[name])


@pytest.mark.parametrize("name", CASES)
def test_the_main_rank_exports_a_plain_model(runs: Path, name: str) -> None:
    from transformers import AutoModelForCausalLM

    alone = Case(name, SINGLE)
    alone.steps(runs / "again" / name)
    loaded: Any = AutoModelForCausalLM.from_pretrained(runs / "exported" / name)
    theirs = dict(loaded.named_parameters())
    assert loaded.dtype == alone.dtype
    for key, mine in alone.model.named_parameters():
        # An Adam step is the learning rate times a sign where gradients are near zero: a few weights may go astray.
        off = (theirs[key] - mine).abs() > 1e-4 + TOLERANCE[name]
        assert float(off.float().mean()) < (0.1 if name == "bf16" else 0.002), key


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_shared_checkpoints_are_safetensors_that_torch_reads_too(runs: Path) -> None:
    import torch.distributed.checkpoint as dcp

    folder = runs / "two" / "untied" / "checkpoints" / "step-2"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        *(f"{kind}-0000{rank}-of-00002.safetensors" for kind in ("model", "optimizer") for rank in (1, 2)),
        "state.json",
    ]
    one = runs / "one" / "untied" / "checkpoints" / "step-2"
    from safetensors.torch import load_file

    expected = load_file(one / "model.safetensors") | load_file(one / "optimizer.safetensors")
    read = {key: torch.zeros_like(value) for key, value in expected.items()}
    dcp.load(read, storage_reader=dcp.HuggingFaceStorageReader(str(folder)), no_dist=True)
    for key, value in expected.items():
        assert torch.allclose(read[key], value, rtol=1e-3, atol=1e-4), key


def test_a_shared_model_gives_the_log_probabilities_of_a_plain_one(runs: Path) -> None:
    model = Case("tied", SINGLE).model
    expected = target_log_probs(model, make_batch([row(9, 0)], LENGTH)).values.tolist()
    for rank in range(2):
        assert results(runs, rank)["log_probs"] == pytest.approx(expected, abs=1e-5)


def test_a_signal_to_one_rank_stops_all_after_one_save(runs: Path) -> None:
    said = [results(runs, rank)["signal"] for rank in range(2)]
    assert "stopped by a signal to another process after step 3" in said[0]
    assert "stopped by SIGTERM after step 3" in said[1]
    assert all(text.startswith("Preempted") for text in said)
    folder = latest_checkpoint(runs / "signal")
    assert folder is not None and folder.name == "step-3"


def test_a_gradient_of_one_rank_that_is_not_finite_stops_all_before_the_update(runs: Path) -> None:
    for rank in range(2):
        assert "step 3" in results(runs, rank)["nan"] and "gradient norm nan" in results(runs, rank)["nan"]
    folder = latest_checkpoint(runs / "nan")
    assert folder is not None and folder.name == "step-2"


def test_a_disk_that_is_full_for_one_rank_fails_the_save_for_all_and_keeps_the_last(runs: Path) -> None:
    assert "another process could not write its part of the checkpoint of step 4" in results(runs, 0)["full"]
    assert "No space left on device" in results(runs, 1)["full"]
    assert sorted(path.name for path in (runs / "full" / "checkpoints").iterdir()) == ["step-2"]


def test_ranks_agree(runs: Path) -> None:
    for rank in range(2):
        assert results(runs, rank)["agree"] == [False, True]
        assert results(runs, rank)["sum"] == 3.0


def test_every_row_is_read_by_one_rank_in_equally_many_micro_batches() -> None:
    for num_rows in range(1, 9):
        for ranks in range(1, 5):
            parts = [micro_batches(range(num_rows), 2, rank=rank, ranks=ranks) for rank in range(ranks)]
            assert len({len(part) for part in parts}) == 1
            assert sorted(n for part in parts for rows in part for n in rows) == list(range(num_rows))
            assert all(len(rows) <= 2 for part in parts for rows in part)
    assert micro_batches([7, 3, 5], 2) == [[7, 3], [5]]
