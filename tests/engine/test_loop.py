"""The loop of a run: steps, schedule, metrics, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seatools.engine.loop import fingerprint_weights, run_steps
from seatools.engine.loop_options import LoopOptions, check_training_dtype, warmup_steps
from seatools.engine.optimise import MasterAdamW
from seatools.engine.schedule import KINDS
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages

QUIET = Messages(quiet=True)


class Toy(torch.nn.Module):
    """One weight; the loop needs nothing of a language model but its device."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[3.0, -2.0], [0.5, 1.0]]))
        self.device = torch.device("cpu")


class Run:
    """A toy run in a folder; `steps` may break what a step gives."""

    def __init__(self, out: Path, steps: Callable[[int, dict[str, Any]], None] | None = None) -> None:
        self.out, self.steps = out, steps
        self.model: Any = Toy()
        self.optimizer = MasterAdamW(list(self.model.named_parameters()), weight_decay=0.0)
        out.mkdir(exist_ok=True)

    def gradients(self, step: int) -> dict[str, Any]:
        loss = ((self.model.weight - step) ** 2).sum()
        loss.backward()
        row = {"loss": float(loss.detach()), "tokens": 4, "rows": [step]}
        if self.steps is not None:
            self.steps(step, row)
        return row

    def go(self, num_steps: int, *, resume: bool = False, fingerprint: Any = None, **options: Any) -> int:
        loop = LoopOptions(**({"max_steps": num_steps, "lr": 0.1} | options))
        return run_steps(
            self.model, self.optimizer, self.gradients, loop, out=self.out, fingerprint=fingerprint or {"data": "d1"},
            resume=resume, messages=QUIET,
        )  # fmt: skip

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "metrics.jsonl").read_bytes().splitlines()]

    @property
    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.out / "checkpoints").iterdir())


def crash_at(number: int) -> Callable[[int, dict[str, Any]], None]:
    def crash(step: int, row: dict[str, Any]) -> None:
        if step == number:
            raise KeyboardInterrupt

    return crash


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("warmup", [0, 2, 5])
def test_every_step_trains_the_first_and_the_last_too(tmp_path: Path, kind: str, warmup: int) -> None:
    run = Run(tmp_path / "out")
    run.go(5, schedule=kind, warmup_steps=warmup)
    rates = [line["lr"] for line in run.metrics]
    assert len(rates) == 5
    assert all(0 < rate <= 0.1 for rate in rates)


def test_warm_up_reaches_the_peak_at_the_step_after_it_and_decay_ends_after_the_last(tmp_path: Path) -> None:
    run = Run(tmp_path / "out")
    run.go(6, schedule="linear", warmup_steps=1)
    assert [line["lr"] for line in run.metrics] == pytest.approx([0.05, 0.1, 0.08, 0.06, 0.04, 0.02])


def test_a_step_logs_one_line_with_the_norm_before_clipping(tmp_path: Path) -> None:
    run = Run(tmp_path / "out")
    run.go(2, clip=0.5)
    first = run.metrics[0]
    assert [line["step"] for line in run.metrics] == [1, 2]
    assert first["loss"] == 4 + 9 + 0.25
    assert first["grad_norm"] == pytest.approx(2 * (4 + 9 + 0.25) ** 0.5)
    assert first["tokens"] == 4 and first["tokens_per_second"] > 0 and first["mfu"] is None
    assert "rows" not in first


def test_clip_inf_switches_clipping_off_and_can_be_saved(tmp_path: Path) -> None:
    clipped, free = Run(tmp_path / "a"), Run(tmp_path / "b")
    clipped.go(1, clip=float("inf"), fingerprint={"clip": "inf"})
    free.go(1, clip=1e9)
    assert torch.equal(clipped.model.weight, free.model.weight)


def test_a_resumed_run_ends_with_the_same_bits_and_each_step_logged_once(tmp_path: Path) -> None:
    straight = Run(tmp_path / "straight")
    straight.go(6, save_every=2)
    broken = Run(tmp_path / "broken", crash_at(6))
    with pytest.raises(KeyboardInterrupt):
        broken.go(6, save_every=2)
    assert [line["step"] for line in broken.metrics] == [1, 2, 3, 4, 5]
    resumed = Run(tmp_path / "broken")
    assert resumed.go(6, save_every=2, resume=True) == 4
    assert torch.equal(straight.model.weight, resumed.model.weight)
    strip = [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in straight.metrics]
    assert [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in resumed.metrics] == strip


def test_a_line_that_the_crash_cut_off_is_dropped(tmp_path: Path) -> None:
    Run(tmp_path / "out").go(2)
    with open(tmp_path / "out" / "metrics.jsonl", "ab") as metrics:
        metrics.write(b'{"step":3,"lo')
    resumed = Run(tmp_path / "out")
    resumed.go(2, resume=True)
    assert [line["step"] for line in resumed.metrics] == [1, 2]


def test_resume_before_the_first_checkpoint_starts_over(tmp_path: Path) -> None:
    broken = Run(tmp_path / "out", crash_at(3))
    with pytest.raises(KeyboardInterrupt):
        broken.go(4)
    resumed = Run(tmp_path / "out")
    assert resumed.go(4, resume=True) == 0
    assert [line["step"] for line in resumed.metrics] == [1, 2, 3, 4]


def test_a_finished_run_resumed_does_nothing_more(tmp_path: Path) -> None:
    first = Run(tmp_path / "out")
    first.go(3)
    again = Run(tmp_path / "out")
    assert again.go(3, resume=True) == 3
    assert torch.equal(first.model.weight, again.model.weight)
    assert len(again.metrics) == 3


def test_another_run_is_refused_by_name_before_a_weight_or_a_metric_changes(tmp_path: Path) -> None:
    Run(tmp_path / "out").go(2)
    other = Run(tmp_path / "out")
    before = other.model.weight.detach().clone()
    metrics = (tmp_path / "out" / "metrics.jsonl").read_bytes()
    with pytest.raises(UsageError, match="data was d1, now d2"):
        other.go(2, resume=True, fingerprint={"data": "d2"})
    assert torch.equal(other.model.weight, before)
    assert (tmp_path / "out" / "metrics.jsonl").read_bytes() == metrics


@pytest.mark.parametrize("key", ["loss", "gradient"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stops_before_the_update_and_leaves_the_checkpoints(
    tmp_path: Path, key: str, value: float
) -> None:
    def poison(step: int, row: dict[str, Any]) -> None:
        if step == 3 and key == "loss":
            row["loss"] = value
        elif step == 3:
            run.model.weight.grad[0, 0] = value

    run = Run(tmp_path / "out", poison)
    reached: list[torch.Tensor] = []
    step = run.optimizer.step
    run.optimizer.step = lambda lr: (step(lr), reached.append(run.model.weight.detach().clone()))  # type: ignore
    with pytest.raises(SeaError, match=r"step 3: loss .*stopped before the update") as caught:
        run.go(5, save_every=1)
    assert "[3]" in str(caught.value.fix)  # the rows to look at
    assert len(reached) == 2 and torch.equal(run.model.weight, reached[-1])
    assert run.checkpoints == ["step-1", "step-2"]
    assert [line["step"] for line in run.metrics] == [1, 2]


def test_the_newest_checkpoints_are_kept_whatever_a_killed_save_left(tmp_path: Path) -> None:
    (tmp_path / "out" / "checkpoints" / "step-9.tmp-123").mkdir(parents=True)
    run = Run(tmp_path / "out")
    run.go(11, save_every=1, keep=2)
    assert [name for name in run.checkpoints if ".tmp" not in name] == ["step-10", "step-11"]


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    straight = Run(tmp_path / "out")
    straight.go(4, save_every=2)
    (tmp_path / "out" / "checkpoints" / "step-4" / "model.safetensors").write_bytes(b"cut")
    resumed = Run(tmp_path / "out")
    assert resumed.go(4, save_every=2, resume=True) == 2
    assert torch.equal(straight.model.weight, resumed.model.weight)
    assert [line["step"] for line in resumed.metrics] == [1, 2, 3, 4]


def test_out_of_gpu_memory_says_what_to_do(tmp_path: Path) -> None:
    def exhaust(step: int, row: dict[str, Any]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(SeaError, match="out of GPU memory") as caught:
        Run(tmp_path / "out", exhaust).go(1)
    assert "--micro-batch" in str(caught.value.fix)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(max_steps=0), dict(lr=0.0), dict(lr=1.0), dict(lr=float("nan")), dict(clip=0.0), dict(clip=float("nan")),
        dict(save_every=-1), dict(keep=0), dict(schedule="step"),
    ],
)  # fmt: skip
def test_options_that_make_no_run_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        LoopOptions(**({"max_steps": 1, "lr": 0.1} | wrong))


@pytest.mark.parametrize(("warmup", "steps"), [(0, 0), (0.01, 10), (0.5, 500), (1, 1), (30, 30)])
def test_warm_up_is_a_share_below_one_and_a_number_from_one(warmup: float, steps: int) -> None:
    assert warmup_steps(warmup, 1000) == steps


@pytest.mark.parametrize("warmup", [-0.1, float("nan"), float("inf")])
def test_a_warm_up_that_is_neither_is_refused(warmup: float) -> None:
    with pytest.raises(UsageError):
        warmup_steps(warmup, 10)


def test_fp16_is_refused_for_training() -> None:
    for dtype in ("auto", "fp32", "bf16"):
        check_training_dtype(dtype)
    with pytest.raises(UsageError, match="fp16 is not for training"):
        check_training_dtype("fp16")
    with pytest.raises(UsageError, match="unknown dtype"):
        check_training_dtype("float32")


def test_the_fingerprint_of_weights_sees_trained_weights_only() -> None:
    model: Any = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).to(torch.bfloat16)
    model[0].requires_grad_(False)
    before = fingerprint_weights(model)
    with torch.no_grad():
        model[0].weight += 1
    assert fingerprint_weights(model) == before
    with torch.no_grad():
        model[1].weight[0, 0] *= 1 + 2**-7  # one step of bf16
    assert fingerprint_weights(model) != before
