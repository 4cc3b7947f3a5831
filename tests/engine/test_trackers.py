"""Trackers get the lines of metrics.jsonl, flat; a missing package is one line that names its extra."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from seatools.engine.trackers import TRACKERS, flatten, open_tracker
from seatools.streams.errors import SeaError, UsageError

LINE = {"step": 7, "loss": 2.5, "mfu": None, "th": {"loss": 2.0, "bits_per_byte": 1.1}, "rows": [1, 2], "ok": True}
EVAL = {"step": 7, "kind": "eval", "en": {"bits_per_byte": 0.9}, "forgetting": 0.01}


class Fake:
    """A package whose calls are written down."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def init(self, **arguments: Any) -> Any:
        self.started = arguments
        return SimpleNamespace(log=self.log, finish=self.finish)

    def log(self, figures: dict[str, float], step: int) -> None:
        self.logged.append((step, figures))

    def finish(self) -> None:
        self.finished += 1


def test_lines_become_flat_numbers():
    assert flatten(LINE) == {"step": 7, "loss": 2.5, "th/loss": 2.0, "th/bits_per_byte": 1.1}
    assert flatten(EVAL) == {"step": 7, "eval/en/bits_per_byte": 0.9, "eval/forgetting": 0.01}
    assert flatten({"step": 1, "loss": float("nan")}) == {"step": 1}


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_lines_reach_the_tracker(name, tmp_path, monkeypatch):
    fake = Fake()
    monkeypatch.setitem(sys.modules, name, fake)
    tracker = open_tracker(name, tmp_path, "my-run", {"lr": 0.1})
    tracker(LINE)
    tracker(EVAL)
    tracker.close()
    tracker.close()
    assert (fake.started["name"], fake.started["config"], fake.finished) == ("my-run", {"lr": 0.1}, 1)
    assert fake.logged == [
        (7, {"loss": 2.5, "th/loss": 2.0, "th/bits_per_byte": 1.1}),
        (7, {"eval/en/bits_per_byte": 0.9, "eval/forgetting": 0.01}),
    ]
    assert "mode" not in fake.started  # WANDB_MODE decides


def test_a_run_has_the_name_of_its_folder(tmp_path, monkeypatch):
    fake = Fake()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    open_tracker("wandb", tmp_path / "thai-1")
    assert (fake.started["name"], fake.started["dir"]) == ("thai-1", str(tmp_path / "thai-1"))


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_names_its_extra(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SeaError, match=f"needs {name}") as error:
        open_tracker(name, tmp_path)
    assert f"sea-adapt[{name}]" in error.value.fix


def test_a_tracker_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    def init(**arguments: Any) -> None:
        raise RuntimeError("no API key\nand more")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(SeaError, match=r"^wandb does not start: no API key \(WANDB") as error:
        open_tracker("wandb", tmp_path)
    assert "WANDB_MODE=offline" in error.value.fix


def test_an_unknown_tracker_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown tracker 'mlflow'"):
        open_tracker("mlflow", tmp_path)


def test_tensorboard_holds_the_curves(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = open_tracker("tensorboard", tmp_path, options={"lr": 0.1})
    for step in (1, 2, 3):
        tracker({"step": step, "loss": 3.0 - step, "th": {"loss": float(step)}})
    tracker({"step": 3, "kind": "eval", "en": {"bits_per_byte": 0.5}})
    tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 2.0), (2, 1.0), (3, 0.0)]
    assert [event.value for event in events.Scalars("th/loss")] == [1.0, 2.0, 3.0]
    assert [(event.step, event.value) for event in events.Scalars("eval/en/bits_per_byte")] == [(3, 0.5)]
