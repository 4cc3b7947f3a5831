"""The loop of a run: steps, schedule, metrics, checkpoints."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from seatools.engine.loop import run_steps
from seatools.engine.loop_options import LoopOptions
from seatools.engine.optimise import MasterAdamW
from seatools.engine.schedule import KINDS
from seatools.engine.step_figures import CLOCK_FIELDS
from seatools.engine.world import World
from seatools.streams.errors import CheckFailed, Preempted, SeaError, UsageError
from seatools.streams.messages import Messages

QUIET = Messages(quiet=True)


class Toy(torch.nn.Module):
    """One weight; the loop needs nothing of a language model but its device."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[3.0, -2.0], [0.5, 1.0]]))
        self.device = torch.device("cpu")
        self.config = LlamaConfig(num_hidden_layers=1)


class Run:
    """A toy run in a folder; `steps` may break what a step gives."""

    def __init__(self, out: Path, steps: Callable[[int, dict[str, Any]], None] | None = None) -> None:
        self.out, self.steps = out, steps
        self.model: Any = Toy()
        self.optimizer = MasterAdamW(list(self.model.named_parameters()), weight_decay=0.0)
        out.mkdir(exist_ok=True)

    messages = QUIET

    def gradients(self, step: int) -> dict[str, Any]:
        loss = ((self.model.weight - step) ** 2).sum()
        loss.backward()
        row = {"loss": float(loss.detach()), "tokens": 4, "rows": [step]}
        if self.steps is not None:
            self.steps(step, row)
        return row

    def go(
        self, num_steps: int, *, resume: bool = False, fingerprint: Any = None, hooks: Any = None, **options: Any
    ) -> int:
        loop = LoopOptions(**({"max_steps": num_steps, "lr": 0.1} | options))
        return run_steps(
            self.model, self.optimizer, self.gradients, loop, out=self.out, fingerprint=fingerprint or {"data": "d1"},
            resume=resume, messages=self.messages, **(hooks or {}),
        )  # fmt: skip

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "metrics.jsonl").read_bytes().splitlines()]

    @property
    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.out / "checkpoints").iterdir())


def without_clock(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in CLOCK_FIELDS} for line in lines]


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
    assert first["seconds"] > 0 and first["model_tflops"] > 0 and first["memory_gb"] > 0.01
    assert "rows" not in first
    assert first.keys() == {"step", "loss", "tokens", "lr", "grad_norm"} | CLOCK_FIELDS - {"data_wait"}


def test_clip_inf_switches_clipping_off_and_can_be_saved(tmp_path: Path) -> None:
    clipped, free = Run(tmp_path / "a"), Run(tmp_path / "b")
    clipped.go(1, clip=float("inf"), fingerprint={"clip": "inf"})
    free.go(1, clip=1e9)
    assert torch.equal(clipped.model.weight, free.model.weight)


def test_a_resumed_run_ends_with_the_same_bits_and_each_step_logged_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    straight = Run(tmp_path / "straight")
    straight.go(6, save_every=2)
    broken = Run(tmp_path / "broken", crash_at(6))
    broken.messages = Messages()
    with pytest.raises(KeyboardInterrupt):
        broken.go(6, save_every=2)
    assert "broken: kept to step 4; the same command with --resume goes on\n" in capsys.readouterr().err
    assert [line["step"] for line in broken.metrics] == [1, 2, 3, 4, 5]
    resumed = Run(tmp_path / "broken")
    assert resumed.go(6, save_every=2, resume=True) == 4
    assert torch.equal(straight.model.weight, resumed.model.weight)
    assert without_clock(resumed.metrics) == without_clock(straight.metrics)


def test_a_line_that_the_crash_cut_off_is_dropped(tmp_path: Path) -> None:
    Run(tmp_path / "out").go(2)
    with open(tmp_path / "out" / "metrics.jsonl", "ab") as metrics:
        metrics.write(b'{"step":3,"lo')
    resumed = Run(tmp_path / "out")
    resumed.go(2, resume=True)
    assert [line["step"] for line in resumed.metrics] == [1, 2]


@pytest.mark.parametrize("line", [b'{"step": "x"}', b'{"step": "-inf"}', b"[1]", b'{"step": null}'])
def test_a_line_of_no_step_is_dropped(tmp_path: Path, line: bytes) -> None:
    Run(tmp_path).go(2)
    metrics = tmp_path / "metrics.jsonl"
    before = metrics.read_bytes()
    metrics.write_bytes(line + b"\n" + before)
    Run(tmp_path).go(2, resume=True)
    assert metrics.read_bytes() == before


def test_a_checkpoint_under_the_name_of_another_step_is_refused(tmp_path: Path) -> None:
    Run(tmp_path).go(2)
    (tmp_path / "checkpoints/step-2").rename(tmp_path / "checkpoints/step-7")
    with pytest.raises(SeaError, match="step 2: was it renamed"):
        Run(tmp_path).go(9, resume=True)


def test_a_line_that_only_lacks_its_end_stays_a_line_of_its_own(tmp_path: Path) -> None:
    first = Run(tmp_path / "out")
    first.go(2, save_every=2)
    path = tmp_path / "out" / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    resumed = Run(tmp_path / "out")
    resumed.go(2, resume=True, hooks={"evaluate": lambda step, stop: {"th": {"bits_per_byte": 1.0}}})
    assert [line["step"] for line in resumed.metrics] == [1, 2, 2]


def test_resume_before_the_first_checkpoint_starts_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Run(tmp_path / "out", crash_at(3))
    broken.messages = Messages()
    with pytest.raises(KeyboardInterrupt):
        broken.go(4)
    assert "no step is kept (--save-every, --save-minutes)" in capsys.readouterr().err
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


def test_a_damaged_newest_checkpoint_never_costs_a_good_one(tmp_path: Path) -> None:
    Run(tmp_path / "out").go(4, save_every=1, keep=2)
    (tmp_path / "out" / "checkpoints" / "step-4" / "model.safetensors").write_bytes(b"cut")
    broken = Run(tmp_path / "out", crash_at(4))
    (tmp_path / "out" / "checkpoints" / "step-4").rename(tmp_path / "out" / "checkpoints" / "step-9")
    with pytest.raises(KeyboardInterrupt):
        broken.go(5, save_every=1, keep=1, resume=True)
    assert broken.checkpoints == ["step-3", "step-9"]
    resumed = Run(tmp_path / "out")
    assert resumed.go(5, save_every=1, keep=1, resume=True) == 3
    assert resumed.checkpoints == ["step-5"]


class Elsewhere(World):
    """Another rank sees no checkpoint."""

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def agree(self, *flags: bool, group: Any = None) -> tuple[bool, ...]:
        return flags

    def new_group(self) -> None:
        return None


def test_processes_that_see_different_checkpoints_do_not_go_on(tmp_path: Path) -> None:
    Run(tmp_path / "out").go(2)
    with pytest.raises(SeaError, match="different checkpoints, this one step 2"):
        Run(tmp_path / "out").go(4, resume=True, hooks={"world": Elsewhere(0, 2, 0, None)})


def test_out_of_gpu_memory_says_what_to_do(tmp_path: Path) -> None:
    def exhaust(step: int, row: dict[str, Any]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(SeaError, match="out of GPU memory") as caught:
        Run(tmp_path / "out", exhaust).go(1)
    assert "--micro-batch" in str(caught.value.fix)


def kinds(run: Run) -> list[tuple[int, str]]:
    """The metrics lines in their order."""
    return [(line["step"], line.get("kind", "train")) for line in run.metrics]


def figures(step: int, stop: Callable[[], bool]) -> dict[str, Any]:
    return {"th": {"bits_per_byte": 1.0 / (step + 1)}}


def test_evaluations_come_before_the_first_step_every_so_many_and_after_the_last(tmp_path: Path) -> None:
    run = Run(tmp_path / "out")
    run.go(5, eval_every=2, hooks={"evaluate": figures})
    evaluated = [line for line in run.metrics if line.get("kind") == "eval"]
    assert kinds(run) == [
        (0, "eval"), (1, "train"), (2, "train"), (2, "eval"), (3, "train"), (4, "train"), (4, "eval"), (5, "train"),
        (5, "eval"),
    ]  # fmt: skip
    assert evaluated[1] == {"step": 2, "kind": "eval", "th": {"bits_per_byte": 1 / 3}}
    ends = Run(tmp_path / "ends")
    ends.go(3, hooks={"evaluate": figures})
    assert [step for step, kind in kinds(ends) if kind == "eval"] == [0, 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("place", ["step", "evaluation", "first evaluation", "save", "last save"])
def test_a_signal_anywhere_saves_and_the_resumed_run_has_the_same_lines_and_bits(
    tmp_path: Path, number: signal.Signals, place: str
) -> None:
    def send(when: bool) -> None:
        if when:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGTERM)  # a second one changes nothing

    def evaluate(step: int, stop: Callable[[], bool]) -> dict[str, Any] | None:
        send((place, step) in (("evaluation", 4), ("first evaluation", 0)))
        return None if stop() else figures(step, stop)

    saves: list[int] = []

    def before_save() -> None:
        saves.append(1)
        send((place, len(saves)) in (("save", 1), ("last save", 2)))

    options: dict[str, Any] = {"save_every": 3, "eval_every": 2}
    straight = Run(tmp_path / "straight")
    straight.go(6, hooks={"evaluate": figures}, **options)
    handlers = [signal.getsignal(caught) for caught in (signal.SIGTERM, signal.SIGUSR1)]
    broken = Run(tmp_path / "out", lambda step, row: send(place == "step" and step == 4))
    with pytest.raises(Preempted, match=f"stopped by {number.name} after step") as caught:
        broken.go(6, hooks={"evaluate": evaluate, "before_save": before_save}, **options)
    assert caught.value.exit_code == 75 and "--resume" in str(caught.value.fix)
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGUSR1)] == handlers
    stopped_after = {"step": 4, "evaluation": 4, "first evaluation": 0, "save": 4, "last save": 6}[place]
    assert f"after step {stopped_after}" in str(caught.value)
    resumed = Run(tmp_path / "out")
    assert resumed.go(6, resume=True, hooks={"evaluate": figures}, **options) == stopped_after
    assert without_clock(resumed.metrics) == without_clock(straight.metrics)
    assert torch.equal(straight.model.weight, resumed.model.weight)


def test_a_signal_while_the_last_checkpoint_is_written_is_not_lost(tmp_path: Path) -> None:
    run = Run(tmp_path / "out")
    with pytest.raises(Preempted, match="after step 3"):
        run.go(3, hooks={"before_save": lambda: os.kill(os.getpid(), signal.SIGTERM)})
    assert run.checkpoints == ["step-3"]


def test_an_evaluation_that_fails_a_check_is_logged_and_the_step_saved_before_the_run_ends(tmp_path: Path) -> None:
    class Forgotten(CheckFailed):
        figures = {"en": {"bits_per_byte": 9.0}}

    def evaluate(step: int, stop: Callable[[], bool]) -> dict[str, Any]:
        if step == 2:
            raise Forgotten("too much English is lost")
        return figures(step, stop)

    run = Run(tmp_path / "out")
    with pytest.raises(CheckFailed, match="English"):
        run.go(4, eval_every=1, hooks={"evaluate": evaluate})
    assert run.metrics[-1] == {"step": 2, "kind": "eval", "en": {"bits_per_byte": 9.0}}
    assert run.checkpoints == ["step-2"]


def test_a_model_that_must_not_be_saved_is_not(tmp_path: Path) -> None:
    def refuse() -> None:
        raise SeaError("row 7 is zero")

    run = Run(tmp_path / "out")
    with pytest.raises(SeaError, match="row 7"):
        run.go(4, save_every=2, hooks={"before_save": refuse})
    assert not (tmp_path / "out" / "checkpoints").exists()
    assert [line["step"] for line in run.metrics] == [1, 2]


def test_trackers_get_every_line(tmp_path: Path) -> None:
    run = Run(tmp_path / "out")
    lines: list[dict[str, Any]] = []
    run.go(2, hooks={"evaluate": figures, "on_line": lines.append})
    assert json.loads(json.dumps(lines)) == run.metrics


def test_the_clock_saves_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("seatools.engine.loop.time.monotonic", lambda: now[0])

    def minute(step: int, row: dict[str, Any]) -> None:
        now[0] += 60

    run = Run(tmp_path / "out", minute)
    run.go(8, save_minutes=3, keep=9)
    assert run.checkpoints == ["step-3", "step-6", "step-8"]


def test_the_documents_of_a_step_that_is_not_finite_are_named(tmp_path: Path) -> None:
    def poison(step: int, row: dict[str, Any]) -> None:
        row["forensics"] = lambda out: f"the documents in {out}/step-{step}.jsonl"
        if step == 2:
            row["loss"] = float("nan")

    with pytest.raises(SeaError, match="stopped before the update") as caught:
        Run(tmp_path / "out", poison).go(3)
    assert str(caught.value.fix).endswith(f"look at the documents in {tmp_path}/out/step-2.jsonl")


def test_a_full_disk_does_not_hide_what_is_not_finite(tmp_path: Path) -> None:
    def full(out: Path) -> str:
        raise OSError(28, "No space left on device")

    def poison(step: int, row: dict[str, Any]) -> None:
        row |= {"forensics": full, "loss": float("inf")}

    with pytest.raises(SeaError, match="step 1: loss inf, .* stopped before the update") as caught:
        Run(tmp_path / "out", poison).go(3)
    assert str(caught.value.fix).endswith("the rows of this step: [1]")
