"""A model made ready to be trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from seatools.engine import training_mode
from seatools.engine.loss import summed_loss
from seatools.engine.rows import make_batch
from seatools.engine.training_mode import prepare_for_training
from seatools.streams.errors import UsageError


def gradients(model: Any) -> list[torch.Tensor]:
    model.zero_grad()
    batch = make_batch([[(range(3, 20), [1] * 17), (range(40, 50), [1] * 10)]], 32)
    summed_loss(model, batch)[0].backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_rows_beyond_the_models_positions_are_refused_with_the_option_to_change(tiny_model: Any) -> None:
    prepare_for_training(tiny_model("llama"), seq_len=64)
    with pytest.raises(UsageError, match="rows of 65 tokens are beyond the model's 64 positions") as caught:
        prepare_for_training(tiny_model("llama"), seq_len=65, option="--max-length")
    assert caught.value.fix == "--max-length 64 or less"


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_dropout_is_off_so_that_a_step_repeats(tiny_model: Any, recompute: str) -> None:
    """phi has dropout modules and a rate for attention."""
    model = tiny_model("phi", resid_pdrop=0.5, embd_pdrop=0.5, attention_dropout=0.5)
    prepare_for_training(model.train(), seq_len=32, recompute=recompute)
    first, second = gradients(model), gradients(model)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


@pytest.mark.parametrize("recompute", ["full", "selective"])
def test_recomputation_changes_no_gradient_and_is_really_on(tiny_model: Any, recompute: str) -> None:
    plain, recomputed = tiny_model("llama"), tiny_model("llama")
    prepare_for_training(plain, seq_len=32)
    prepare_for_training(recomputed, seq_len=32, recompute=recompute)
    calls = {"plain": 0, "recomputed": 0}
    for name, model in (("plain", plain), ("recomputed", recomputed)):
        mlp = model.model.layers[0].mlp
        mlp.register_forward_pre_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    for one, two in zip(gradients(plain), gradients(recomputed), strict=True):
        assert torch.equal(one, two)
    assert calls == {"plain": 1, "recomputed": 2}


def test_blocks_are_compiled_with_what_was_asked_for_before(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation comes last, so that recomputation is inside what is compiled."""
    order: list[str] = []
    for name in ("use_fp8", "recompute_blocks", "compile_model_blocks"):
        monkeypatch.setattr(training_mode, name, lambda *_, name=name, **__: order.append(name))
    prepare_for_training(tiny_model("llama"), seq_len=32, fp8=True, recompute="full", compile_blocks=True)
    assert order == ["use_fp8", "recompute_blocks", "compile_model_blocks"]
