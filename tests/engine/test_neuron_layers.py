"""FFN and attention found in every family, and what is not handled named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf
from tiny_families import FAMILIES, LAYOUTS, tiny
from torch import nn

from seatools.engine.layer_proof import prove_layers
from seatools.engine.neuron_layers import FFN, Attention, Experts, find_layers
from seatools.engine.neuron_layout import ATTENTION_PARTS, layout_json, parse_layout
from seatools.streams.errors import SeaError

EVERY = [*FAMILIES, *LAYOUTS]
SMALL: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 32,
    "pad_token_id": 0,
}  # fmt: skip


def heads_of(family: str) -> tuple[int, int]:
    if family.startswith(("gpt2", "gpt_neox", "gptj", "opt", "bloom", "falcon-old")):
        return 4, 4
    return (4, 1) if family == "falcon" else (4, 2)


@pytest.mark.parametrize("family", EVERY)
def test_every_family_has_its_places(family: str) -> None:
    model = tiny(family)
    layers = find_layers(model)
    assert layers.no_attention is None and len(layers.attention) == 3
    width = 128 if family == "bloom" else 48  # its config does not tell another
    for index, attention in enumerate(layers.attention):
        assert (attention.num_heads, attention.num_kv_heads) == heads_of(family)
        queries, keys = (n * attention.head_dim for n in heads_of(family))
        sizes = {part: place.size for part, place in attention.places.items()}
        assert sizes == {"q": queries, "k": keys, "v": keys, "o": queries}
        assert attention.o_weight().shape == (32, queries)
        assert (attention.layer, {place.layer for place in attention.places.values()}) == (index, {index})
    dense = [ffn for ffn in layers.ffn if isinstance(ffn, FFN) and ffn.part == "ffn"]
    assert all(ffn.down_weight().shape == (32, width) and ffn.place.size == width for ffn in dense)
    assert len(dense) == {"qwen2_moe": 1, "mixtral": 0, "olmoe": 0, "qwen3_moe": 0}.get(family, 3)
    assert all(ffn.activation is not None for ffn in layers.ffn)
    everything = layers.all_places()
    assert [place.key for place in everything] == sorted((place.key for place in everything), key=order)
    assert parse_layout(layout_json(everything), "x") == everything
    assert {place.part for place in layers.places(("v", "ffn"))} == {"v", "ffn"}


def order(key: tuple[int, str]) -> tuple[int, int]:
    return key[0], ("ffn", "shared", *ATTENTION_PARTS).index(key[1])


@pytest.mark.parametrize("family", EVERY)
def test_the_views_count_every_parameter_of_the_ffn_and_attention_weights(family: str) -> None:
    """All that their projections have, but the biases that no neuron owns (of down and o)."""
    model = tiny(family)
    places = find_layers(model).all_places()
    counted = sum(place.parameters * place.size for place in places)
    total = 0
    for name in {view.name for place in places for view in place.views}:
        columns = {place.views[-1].name for place in places if place.part in ("ffn", "shared", "o")}
        try:
            weights = dict(model.get_submodule(name).named_parameters())
        except AttributeError:
            weights = {"weight": model.get_parameter(name)}
        total += sum(weight.numel() for key, weight in weights.items() if key == "weight" or name not in columns)
    assert counted == total


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("family", EVERY)
def test_one_token_proves_what_was_found(family: str, dtype: torch.dtype) -> None:
    model = tiny(family, dtype)
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    prove_layers(model, find_layers(model))
    assert hooks == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt_neox", "falcon-new", "gpt2"])
def test_the_proof_fails_where_parts_are_taken_for_others(family: str) -> None:
    model = tiny(family)
    layers = find_layers(model)
    for attention in layers.attention:
        object.__setattr__(attention, "v", attention.k)
    with pytest.raises(SeaError, match=r"Attention \(.* does not take the values"):
        prove_layers(model, layers)
    prove_layers(model, layers, ("ffn", "shared"))  # an attention that is not known is no matter there
    if family == "phi3":
        layers = find_layers(model)
        object.__setattr__(layers.ffn[1], "gate_take", lambda output: output[..., 48:])
        with pytest.raises(
            SeaError, match=r"Phi3MLP \(model.layers.1.mlp\): down_proj does not take act\(gate\) \* up"
        ):
            prove_layers(model, layers)


@pytest.mark.parametrize("family", EVERY)
def test_fused_outputs_are_split_as_their_views_say(family: str) -> None:
    """`take` and `WeightView.physical` are the same neurons; so is what the FFN gives to its down projection."""
    model = tiny(family)
    layers = find_layers(model)
    for attention in layers.attention:
        for part, projection in (("q", attention.q), ("k", attention.k), ("v", attention.v)):
            place = attention.places[part]
            (view,) = place.views
            assert model.get_submodule(view.name) is projection.module
            output = torch.arange(2 * 3 * view.size).reshape(2, 3, view.size)
            index = torch.from_numpy(view.physical(torch.arange(place.size).numpy()))
            assert torch.equal(projection.take(output), output[..., index])
    for ffn in layers.ffn:
        if isinstance(ffn, FFN):
            view = ffn.place.views[0]
            output = torch.arange(view.size)
            assert torch.equal(ffn.gate_take(output), output[: ffn.place.size])
            assert model.get_submodule(view.name) is ffn.gate


@pytest.mark.parametrize("family", EVERY)
def test_activations_are_those_that_the_model_computes(family: str) -> None:
    from transformers.activations import ACT2FN

    x = torch.linspace(-4, 4, 101)
    for ffn in find_layers(tiny(family)).ffn:
        act = next(act for name in ("act_fn", "activation_fn", "act", "gelu_impl")
                   if (act := getattr(ffn.module, name, None)) is not None)  # fmt: skip
        torch.testing.assert_close(ACT2FN[ffn.activation](x), act(x), atol=1e-6, rtol=1e-5)


def test_facts_of_the_attention_of_several_families() -> None:
    def attention(family: str, layer: int = 0, **changes: Any) -> Attention:
        return find_layers(tiny(family, **changes)).attention[layer]

    for family in EVERY:
        found = attention(family, 2)
        scaling = {"gpt2-scaled": 8**-0.5 / 3, "granite": 1.0}.get(family, found.head_dim**-0.5)
        assert found.scaling == pytest.approx(scaling), family
        normed = family in ("qwen3", "gemma3", "olmo2", "qwen3_moe", "olmoe")
        assert (found.q_norm is not None) == (found.k_norm is not None) == normed, family
    assert [attention("gemma2", i).window for i in (0, 1)] == [4, None]
    assert [attention("gemma3", i).window for i in (0, 1, 2)] == [4, None, 4]
    assert attention("mistral").window is None and attention("mistral-sliding").window == 4
    assert attention("cohere2", 0).window == 4
    assert attention("gemma2").softcap == 50.0 and attention("gemma3").softcap is None
    phi = attention("phi", qk_layernorm=True)
    assert isinstance(phi.q_norm, nn.LayerNorm) and isinstance(phi.k_norm, nn.LayerNorm)
    assert attention("cohere", use_qk_norm=True).q_norm is not None


def test_facts_of_the_ffn_of_several_families() -> None:
    for family in EVERY:
        for ffn in find_layers(tiny(family)).ffn:
            sandwich = family in ("gemma2", "gemma3", "olmo2", "glm4")
            assert (ffn.post_norm is not None) == sandwich, family
            if isinstance(ffn, FFN):
                ungated = ("phi", "gpt2", "gpt2-scaled", "opt", "gpt_neox", "bloom", "falcon", "falcon-old",
                           "falcon-new", "starcoder2", "gptj", "nemotron")  # fmt: skip
                assert ffn.gated == (family not in ungated), family
    parts = [(type(ffn), ffn.layer, ffn.part) for ffn in find_layers(tiny("qwen2_moe")).ffn]
    assert parts == [(FFN, 0, "ffn"), (Experts, 1, "ffn"), (FFN, 1, "shared"), (Experts, 2, "ffn"), (FFN, 2, "shared")]
    mixtral = find_layers(tiny("mixtral")).ffn[0]
    assert isinstance(mixtral, Experts) and (mixtral.num_experts, mixtral.width) == (4, 48)
    assert mixtral.place.experts == 4 and mixtral.place.size == 192


def test_a_model_with_a_picture_side_gives_its_text_layers() -> None:
    text = {**SMALL, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 97}
    sight = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sight |= {"image_size": 8, "patch_size": 4}
    config = hf.Gemma3Config(text_config=text, vision_config=sight, mm_tokens_per_image=4)
    model = hf.Gemma3ForConditionalGeneration(config)
    layers = find_layers(model)
    assert [ffn.name for ffn in layers.ffn] == [f"model.language_model.layers.{i}.mlp" for i in (0, 1)]
    assert len(layers.attention) == 2


def test_an_activation_that_does_not_map_zero_to_zero_is_refused() -> None:
    for family, name in (("llama", "act_fn"), ("gpt2", "act"), ("phi3", "activation_fn"), ("mixtral", "act_fn")):
        model = tiny(family)
        module = find_layers(model).ffn[1].module
        setattr(module, name, nn.Sigmoid())
        with pytest.raises(SeaError, match=rf"{type(module).__name__} \(.*\.1\.mlp.* act\(0\) != 0"):
            find_layers(model)


def deepseek() -> Any:
    return hf.DeepseekV3ForCausalLM(hf.DeepseekV3Config(
        **SMALL, n_routed_experts=4, moe_intermediate_size=8, first_k_dense_replace=1, n_group=1, topk_group=1,
        num_experts_per_tok=2, q_lora_rank=8, kv_lora_rank=8, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8,
    ))  # fmt: skip


def test_an_attention_that_is_not_handled_is_named_and_the_ffn_still_found() -> None:
    layers = find_layers(deepseek())
    assert [(ffn.layer, ffn.part) for ffn in layers.ffn] == [(0, "ffn"), (1, "ffn"), (1, "shared")]
    assert layers.attention == () and {place.part for place in layers.all_places()} == {"ffn", "shared"}
    assert layers.no_attention is not None and "DeepseekV3Attention (model.layers.0.self_attn)" in layers.no_attention
    with pytest.raises(SeaError, match=r"DeepseekV3Attention \(model.layers.0.self_attn\)"):
        layers.places(("ffn", "v"))
    codegen = hf.CodeGenForCausalLM(hf.CodeGenConfig(vocab_size=32, n_embd=16, n_layer=1, n_head=4, rotary_dim=4))
    assert "CodeGenAttention (transformer.h.0.attn)" in str(find_layers(codegen).no_attention)


def test_what_is_in_no_layer_is_refused() -> None:
    with pytest.raises(SeaError, match="LlamaForCausalLM has no shared expert"):
        find_layers(tiny("llama")).places(("ffn", "shared"))
    with pytest.raises(SeaError, match='"gate" is not a part'):
        find_layers(tiny("llama")).places(("gate",))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hf.MambaForCausalLM(hf.MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1)),
         r"MambaBlock \(backbone.layers.0\) .*MambaMixer"),
        (lambda: hf.GptOssForCausalLM(hf.GptOssConfig(**SMALL, num_local_experts=4, num_key_value_heads=1, head_dim=8)),
         r"GptOssExperts \(model.layers.0.mlp.experts\)"),
        (lambda: hf.BitNetForCausalLM(hf.BitNetConfig(**SMALL, num_key_value_heads=1)),
         r"BitNetMLP \(model.layers.0.mlp\) norms its activations"),
        (lambda: tiny("bloom", slow_but_exact=True, pretraining_tp=2), r"BloomMLP \(transformer.h.0.mlp\) .*slices"),
    ],
)  # fmt: skip
def test_layouts_that_are_not_handled_are_named(make: Any, message: str) -> None:
    with pytest.raises(SeaError, match=message):
        find_layers(make())
