"""What a step's line says of the machine: speed times the work of a token, by the convention of flops.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seatools.engine.flops import mean_context, token_work
from seatools.engine.optimise import MasterAdamW
from seatools.engine.step_figures import StepFigures, live_note
from seatools.engine.world import SINGLE

LENGTHS = [30, 10, 24]


@pytest.mark.parametrize(("more", "share"), [({}, 1.0), ({"targets": 16}, 0.25)])
def test_the_work_of_a_step_is_that_of_its_documents_and_targets(
    tiny_model: Callable[..., Any], more: dict[str, int], share: float
) -> None:
    model = tiny_model("llama")
    row = {"tokens": sum(LENGTHS), "context": mean_context(LENGTHS), **more}
    figures = StepFigures(model, MasterAdamW(list(model.named_parameters())), SINGLE).of(row, seconds=0.5)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    work = token_work(shapes, model.config.to_dict(), context=row["context"], target_share=share).total
    assert figures["tokens_per_second"] == 128
    assert figures["model_tflops"] == pytest.approx(128 * work / 1e12, rel=1e-3)
    assert figures["mfu"] is None


def test_a_terminal_sees_loss_bits_per_byte_rate_and_speed() -> None:
    line = {"loss": 2.34567, "bits_per_byte": 0.98765, "lr": 1.5e-4, "tokens_per_second": 12345.6}
    assert live_note(line) == "loss 2.346, 0.988 bits/byte, lr 1.50e-04, 12.3k tokens/s"
    assert live_note({"loss": 2.0, "lr": 1e-5, "tokens_per_second": 99.7}) == "loss 2.000, lr 1.00e-05, 100 tokens/s"
