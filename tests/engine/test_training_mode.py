"""A model made ready to be trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch

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
    prepare_for_training(tiny_model("llama"), seq_len=64, gradient_checkpointing=False)
    with pytest.raises(UsageError, match="rows of 65 tokens are beyond the model's 64 positions") as caught:
        prepare_for_training(tiny_model("llama"), seq_len=65, gradient_checkpointing=False, option="--max-length")
    assert caught.value.fix == "--max-length 64 or less"


@pytest.mark.parametrize("recompute", [False, True])
def test_dropout_is_off_so_that_a_step_repeats(tiny_model: Any, recompute: bool) -> None:
    """phi has dropout modules and a rate for attention."""
    model = tiny_model("phi", resid_pdrop=0.5, embd_pdrop=0.5, attention_dropout=0.5)
    prepare_for_training(model, seq_len=32, gradient_checkpointing=recompute)
    first, second = gradients(model), gradients(model)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_recomputation_changes_no_gradient_and_is_really_on(tiny_model: Any) -> None:
    plain, recomputed = tiny_model("llama"), tiny_model("llama")
    prepare_for_training(plain, seq_len=32, gradient_checkpointing=False)
    prepare_for_training(recomputed, seq_len=32, gradient_checkpointing=True)
    calls = {"plain": 0, "recomputed": 0}
    for name, model in (("plain", plain), ("recomputed", recomputed)):
        mlp = model.model.layers[0].mlp
        mlp.register_forward_pre_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    for one, two in zip(gradients(plain), gradients(recomputed), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)
    assert calls == {"plain": 1, "recomputed": 2}


def test_the_old_name_of_recomputation_serves_where_there_is_no_new_one() -> None:
    class OldModel(torch.nn.Module):
        called = False

        class config:
            @staticmethod
            def get_text_config(decoder: bool) -> Any:
                return None

        def gradient_checkpointing_enable(self) -> None:
            self.called = True

    model: Any = OldModel()
    prepare_for_training(model, seq_len=8, gradient_checkpointing=True)
    assert model.called
