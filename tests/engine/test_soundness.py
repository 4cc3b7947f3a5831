"""The proof that a model keeps packed documents apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from seatools.engine import attention as document_attention
from seatools.engine.load import prove
from seatools.engine.soundness import check_soundness
from seatools.streams.errors import SeaError

document_attention.register()

FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "mistral-sliding", "gemma2", "gemma3", "cohere", "granite", "phi"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["sea_varlen", None])
def test_known_families_pass(
    tiny_model: Callable[..., Any], family: str, dtype: torch.dtype, attention: str | None
) -> None:
    attention = "eager" if family == "gemma2" else attention
    check_soundness(tiny_model(family, attention=attention).to(dtype))


@pytest.mark.parametrize("fault", ["documents run together", "another scale"])
def test_attention_of_ours_is_not_compared_with_itself(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A fault in it is found, and `auto` goes back to sdpa."""
    right = document_attention.document_attention

    def wrong(query: Any, key: Any, value: Any, documents: Any, scale: float | None = None) -> Any:
        if fault == "another scale":
            return right(query, key, value, documents, 0.5 * (scale or 1.0))
        width = query.shape[2]
        starts = torch.arange(0, len(query) * width + 1, width, dtype=torch.int32)
        return right(query, key, value, documents._replace(starts=starts), scale)

    monkeypatch.setattr(document_attention, "document_attention", wrong)
    with pytest.raises(SeaError):
        check_soundness(tiny_model("llama", attention="sea_varlen"))
    model = tiny_model("llama", attention="sdpa")
    prove(model, "auto")
    assert model.config._attn_implementation == "sdpa"
    monkeypatch.undo()
    prove(model, "auto")
    assert model.config._attn_implementation == "sea_varlen"


def build(model_type: str, **values: Any) -> Any:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    sizes: dict[str, Any] = dict(vocab_size=97, hidden_size=32, num_hidden_layers=3, num_attention_heads=4)
    config = CONFIG_MAPPING[model_type](**{**sizes, **values})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, 0, 0.2)
    return model.eval()


@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        ("mamba", dict(state_size=8)),  # carries its state on
        ("bloom", {}),  # ALiBi, does not know position_ids
        (
            "lfm2",  # convolutions reach back over the boundary
            dict(intermediate_size=48, num_key_value_heads=2, layer_types=["conv", "full_attention", "conv"]),
        ),
    ],
)
def test_architectures_that_mix_documents_are_refused_by_name(model_type: str, values: dict[str, Any]) -> None:
    with pytest.raises(SeaError, match=rf"\({model_type}\) does not keep the documents"):
        check_soundness(build(model_type, **values))


def test_a_head_that_we_compute_otherwise_is_refused(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    model.lm_head.register_forward_hook(lambda module, inputs, output: output * 0.5)
    with pytest.raises(SeaError, match="are not the model's own"):
        check_soundness(model)


def test_broken_weights_are_refused(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    model.model.layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(SeaError):
        check_soundness(model)
