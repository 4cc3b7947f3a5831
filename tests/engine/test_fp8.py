"""fp8 products: what they need, and what they change."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from seatools.engine.fp8 import use_fp8
from seatools.engine.loss import summed_loss
from seatools.engine.rows import make_batch
from seatools.streams.errors import SeaError


def gradients(model: Any) -> list[torch.Tensor]:
    summed_loss(model, make_batch([[(range(3, 40), [1] * 37)]]))[0].backward()
    return [parameter.grad for parameter in model.parameters()]


def test_a_device_without_it_is_refused(tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SeaError, match="needs a CUDA device; this is cpu"):
        use_fp8(tiny_model("llama"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")

    class OnCuda:
        device = torch.device("cuda")

    model: Any = OnCuda()
    with pytest.raises(SeaError, match="A100 has no fp8 products"):
        use_fp8(model)


def test_without_torchao_the_extra_is_named(tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.float8", None)
    monkeypatch.setitem(sys.modules, "torchao", None)
    model = tiny_model("llama")
    with pytest.raises(SeaError) as caught:
        use_fp8(model, emulate=True)
    assert caught.value.fix == 'pip install "sea-adapt[fp8]"'
    assert type(model.model.layers[0].mlp.up_proj) is nn.Linear


def test_the_linear_layers_of_the_blocks_are_rounded_to_fp8(tiny_model: Callable[..., Any]) -> None:
    pytest.importorskip("torchao.float8", reason="torchao (the extra fp8) is not installed")
    plain, model = (tiny_model("llama", intermediate_size=56) for _ in range(2))
    names = list(model.state_dict())
    assert use_fp8(model, emulate=True) == 3 * 4  # 56 is no multiple of 16: the MLP stays as it is
    assert list(model.state_dict()) == names
    assert type(model.model.layers[0].self_attn.q_proj) is not nn.Linear
    assert type(model.model.layers[0].mlp.up_proj) is type(model.lm_head) is nn.Linear
    pairs = list(zip(gradients(model), gradients(plain), strict=True))
    assert all(torch.cosine_similarity(one.flatten(), two.flatten(), 0) > 0.9 for one, two in pairs)
    assert any(not torch.equal(one, two) for one, two in pairs)
    with pytest.raises(SeaError, match="multiples of 16"):
        use_fp8(tiny_model("llama", hidden_size=24, head_dim=6, intermediate_size=40), emulate=True)
