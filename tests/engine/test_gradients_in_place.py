"""Head and embedding add their gradients to `.grad` themselves: the same numbers, no second matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from seatools.engine.rows import Batch, make_batch
from seatools.engine.shard import LossModule


def batches() -> list[Batch]:
    draw = np.random.default_rng(0)
    docs = [(draw.integers(3, 97, n), draw.integers(0, 2, n)) for n in (9, 6, 8, 1, 5)]
    return [make_batch([docs[:2]], row_length=16), make_batch([docs[2:]], row_length=16), make_batch([[]], 16)]


@pytest.mark.parametrize("frozen", ["", "embed_tokens", "lm_head", "layers"])
@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "cohere", "granite"])
def test_gradients_are_those_of_autograd_over_micro_batches(
    tiny_model: Callable[..., Any], family: str, tie: bool, frozen: str
) -> None:
    found = []
    for in_place in (False, True):
        model = tiny_model(family, tie_word_embeddings=tie)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not frozen or frozen not in name)
        root, factor = LossModule(model), 1 / 17
        if in_place:
            assert root.add_in_place()
            root.begin()
        for batch in batches():
            loss = root(batch, factor if in_place else None)
            (loss.total * factor).backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    plain, added = found
    for name, gradient in plain.items():
        assert (gradient is None) == (added[name] is None), name
        if gradient is not None:
            assert added[name].layout == torch.strided
            torch.testing.assert_close(added[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_no_gradient_as_large_as_the_vocabulary_is_made_beside_it(tiny_model: Callable[..., Any]) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Made(TorchDispatchMode):
        """Counts the dense results of the vocabulary's shape."""

        def __init__(self, shape: torch.Size) -> None:
            super().__init__()
            self.shape, self.count = shape, 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            fresh = isinstance(result, torch.Tensor) and result.layout == torch.strided and result.shape == self.shape
            known = {x.data_ptr() for x in args if isinstance(x, torch.Tensor) and x.layout == torch.strided}
            self.count += fresh and result.data_ptr() not in known
            return result

    counts = []
    for in_place in (False, True):
        model = tiny_model("llama", tie_word_embeddings=True)
        root, batch = LossModule(model), batches()[0]
        assert not in_place or root.add_in_place()
        model.get_input_embeddings().weight.grad = torch.zeros_like(model.get_input_embeddings().weight)
        with Made(model.get_input_embeddings().weight.shape) as made:
            (root(batch, 0.5 if in_place else None).total * 0.5).backward()
        counts.append(made.count)
    assert counts[0] >= 2 and counts[1] == 0


def test_low_precision_weights_keep_to_autograd(tiny_model: Callable[..., Any]) -> None:
    assert not LossModule(tiny_model("llama", torch.bfloat16)).add_in_place()
