"""Activations computed again: the same gradients to the bit, less memory, and no more work than was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from seatools.engine import attention
from seatools.engine.loss import forward_hidden, summed_loss
from seatools.engine.recompute import RECOMPUTE, recompute_blocks
from seatools.engine.rows import Batch, make_batch
from seatools.engine.selected import select
from seatools.streams.errors import SeaError, UsageError

attention.register()
CASES = [
    (family, name) for family in ("llama", "qwen3", "mistral-sliding", "gemma3") for name in ("sea_varlen", "sdpa")
]
CASES += [("gemma2", "eager"), ("phi", "sea_varlen"), ("granite", "sea_varlen")]


def batch() -> Batch:
    return make_batch([[(range(3, 40), [1] * 37), (range(40, 60), [1] * 20)], [(range(30, 90), [1] * 60)]], 64)


def gradients(model: Any) -> list[torch.Tensor]:
    model.zero_grad()
    summed_loss(model, batch())[0].backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


class Watched(TorchDispatchMode):
    """Counts operators, and the bytes of what they made and is still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.calls[function._schema.name] += 1
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return result

    def alive(self) -> int:
        return sum(size for reference, size in self.made.values() if not reference.expired())


@pytest.mark.parametrize(("family", "name"), CASES)
def test_gradients_are_the_same_to_the_bit(tiny_model: Callable[..., Any], family: str, name: str) -> None:
    plain = gradients(tiny_model(family, attention=name))
    for how in ("selective", "full"):
        model = tiny_model(family, attention=name)
        recompute_blocks(model, how)
        assert not model.training
        assert all(torch.equal(one, two) for one, two in zip(gradients(model), plain, strict=True))


@pytest.mark.parametrize("how", ["selective", "full"])
def test_selected_rows_and_columns_have_the_same_gradients(tiny_model: Callable[..., Any], how: str) -> None:
    found = []
    for mode in ("none", how):
        model = tiny_model("llama", attention="sea_varlen")
        model.requires_grad_(False)
        rows = [("model.layers.1.mlp.up_proj.weight", 0), ("model.layers.2.mlp.down_proj.weight", 1)]
        parts = select(model, [(parameter, dim, torch.tensor([1, 5, 40])) for parameter, dim in rows])
        recompute_blocks(model, mode)
        summed_loss(model, batch())[0].backward()
        found.append([part.values.grad for _, part in parts])
    assert all(one is not None and torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_memory_is_saved_and_the_right_products_are_repeated(tiny_model: Callable[..., Any]) -> None:
    alive, products, attended = {}, {}, {}
    for how in RECOMPUTE:
        model = tiny_model("llama", attention="sea_varlen", num_hidden_layers=6)
        recompute_blocks(model, how)
        given = batch()
        with Watched() as watched:
            hidden = model.model(input_ids=given.input_ids, position_ids=given.position_ids, use_cache=False)[0]
            del given
            alive[how] = watched.alive()
        loss = hidden.sum()
        with Watched() as repeated:
            loss.backward()
        products[how] = repeated.calls["aten::mm"] - 6 * 7 * 2  # two products of each linear layer are the gradients'
        attended[how] = repeated.calls["aten::_scaled_dot_product_flash_attention_for_cpu"]
    # of q, k, v, o, gate, up, down: all but down; and of those k, v (they shrink), o and up (every second)
    assert products == {"none": 0, "selective": 6 * 4, "full": 6 * 6}
    assert attended == {"none": 0, "selective": 0, "full": 6}
    assert alive["full"] < 0.25 * alive["none"]
    assert alive["full"] < alive["selective"] < 0.6 * alive["none"]


def test_nothing_is_kept_without_gradients(tiny_model: Callable[..., Any]) -> None:
    alive = []
    for how in RECOMPUTE:
        model = tiny_model("llama")
        recompute_blocks(model, how)
        with torch.no_grad(), Watched() as watched:
            hidden = forward_hidden(model, batch())
            alive.append(watched.alive())
        assert not hidden.requires_grad
    assert alive[0] == alive[1] == alive[2]


def test_unknown_words_and_unknown_models_are_refused(tiny_model: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="'half'"):
        recompute_blocks(tiny_model("llama"), "half")

    class Other(torch.nn.Module):
        class config:
            model_type = "other"

        def get_decoder(self) -> torch.nn.Module:
            return self

    model: Any = Other()
    with pytest.raises(SeaError, match=r"Other \(other\) has no decoder blocks"):
        recompute_blocks(model, "full")
    recompute_blocks(model, "none")
