"""PLND: importance is what zeroing a neuron changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seatools.engine.neurons import Deactivated
from seatools.lsn_detect.plnd import Importances, Tally, language_sets, selected_in
from seatools.lsn_detect.statistics import observe
from seatools.streams.errors import SeaError

HANDLED = ("llama", "qwen2", "mistral", "qwen3")
PARTS = ("ffn", "v", "q", "k")


def importances(model: Any, batches: list[Any], parts: tuple[str, ...] = PARTS, **rule: Any) -> Importances:
    collector = Importances(model, parts=parts, seq_len=20, **(rule or {"top_k": 0.25}))
    observe(model, collector, batches)
    return collector


def of_one_document(model: Any, ids: np.ndarray, batches: Any, parts: tuple[str, ...]) -> dict[Any, torch.Tensor]:
    return {place: tally.importance for place, tally in importances(model, batches([ids]), parts).tallies.items()}


def output_of(model: Any, module: str, ids: np.ndarray) -> torch.Tensor:
    """What the named module gives on this document."""
    kept: list[torch.Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)

    handle = model.get_submodule(module).register_forward_hook(keep)
    with torch.no_grad():
        model(input_ids=torch.from_numpy(ids.astype(np.int64))[None])
    handle.remove()
    return kept[0]


def zeroing_changes(model: Any, weight: str, module: str, ids: np.ndarray, size: int) -> list[float]:
    """The norm of the change of the module's output for each neuron of `weight` set to zero, in turn."""
    before = output_of(model, module, ids)
    changes = []
    for index in range(size):
        with Deactivated(model, {weight: [index]}):
            changes.append(float((output_of(model, module, ids) - before).norm()))
    return changes


@pytest.mark.parametrize("family", HANDLED)
@pytest.mark.parametrize("projection", ["gate_proj", "up_proj", "down_proj"])
def test_ffn_importance_is_what_zeroing_the_neuron_changes(family, projection, tiny, documents, batches):
    model, (ids,) = tiny(family), documents(1)
    ours = of_one_document(model, ids, batches, ("ffn",))
    for layer in (0, 1):
        name = f"model.layers.{layer}"
        brute = zeroing_changes(model, f"{name}.mlp.{projection}", name, ids, 20)
        np.testing.assert_allclose(ours[layer, "ffn"].numpy(), brute, rtol=1e-10)


@pytest.mark.parametrize("family", [*HANDLED, "olmo2"])
def test_v_importance_is_what_zeroing_the_row_changes(family, tiny, documents, batches):
    model, (ids,) = tiny(family), documents(1)
    ours = of_one_document(model, ids, batches, ("v",))
    for layer in (0, 1):
        name = f"model.layers.{layer}.self_attn"
        brute = zeroing_changes(model, f"{name}.v_proj", name, ids, 16)
        np.testing.assert_allclose(ours[layer, "v"].numpy(), brute, rtol=1e-10)


def maps_of(model: Any, ids: np.ndarray, layer: int) -> torch.Tensor:
    """Attention maps [heads, T, T] as the model itself gives them."""
    with torch.no_grad():
        output = model(input_ids=torch.from_numpy(ids.astype(np.int64))[None], output_attentions=True)
    return output.attentions[layer][0]


@pytest.mark.parametrize("family", HANDLED)
@pytest.mark.parametrize("part", ["q", "k"])
def test_q_and_k_importance_is_the_change_of_the_models_own_maps(family, part, tiny, documents, batches):
    model, (ids,) = tiny(family), documents(1)
    ours = of_one_document(model, ids, batches, ("q", "k"))
    for layer in (0, 1):
        before = maps_of(model, ids, layer)
        attention = model.model.layers[layer].self_attn
        normed = getattr(attention, f"{part}_norm", None)  # there the normalised coordinate is the neuron
        brute = []
        for index in range(32 if part == "q" else 16):

            def zero(_module: Any, _args: Any, output: torch.Tensor, index: int = index) -> torch.Tensor:
                output = output.clone()
                output.view(*ids.shape, -1)[:, index] = 0
                return output

            handle = (normed or getattr(attention, f"{part}_proj")).register_forward_hook(zero)
            brute.append(float((maps_of(model, ids, layer) - before).norm()))
            handle.remove()
        np.testing.assert_allclose(ours[layer, part].numpy(), brute, rtol=1e-10, atol=1e-14)
        assert min(brute) > 1e-6


def test_zeroing_a_weight_row_is_zeroing_its_output(tiny, documents, batches):
    """The brute force above zeroes outputs; here the parameters themselves, bias included."""
    model, (ids,) = tiny("qwen2"), documents(1)
    ours = of_one_document(model, ids, batches, ("q", "k"))
    before = maps_of(model, ids, 1)
    with torch.no_grad():
        model.model.layers[1].self_attn.k_proj.weight[9] = 0
        model.model.layers[1].self_attn.k_proj.bias[9] = 0
    assert float((maps_of(model, ids, 1) - before).norm()) == pytest.approx(float(ours[1, "k"][9]), rel=1e-10)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_packed_documents_count_as_they_do_alone(family, tiny, documents, batches):
    model, docs = tiny(family), documents(7)
    packed = importances(model, batches(docs, seq_len=41))
    assert any(len(batch.spans) > batch.batch.input_ids.shape[0] for batch in batches(docs, seq_len=41))
    alone = importances(model, [batch for doc in docs for batch in batches([doc])])
    assert packed.num_docs == alone.num_docs == 7
    for place, tally in packed.tallies.items():
        assert torch.equal(tally.selected, alone.tallies[place].selected)
        torch.testing.assert_close(tally.importance, alone.tallies[place].importance, rtol=1e-10, atol=0)


@pytest.mark.parametrize("chunk_elements", [1, 10_000])
def test_chunks_of_coordinates_change_nothing(chunk_elements):
    from seatools.lsn_detect.attention_ablation import map_changes

    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(heads, 11, 6, generator=generator, dtype=torch.float64) for heads in (4, 2))
    angles = torch.randn(11, 3, generator=generator, dtype=torch.float64).repeat(1, 2)
    whole = map_changes(q, k, angles.cos(), angles.sin(), 0.4)
    parts = map_changes(q, k, angles.cos(), angles.sin(), 0.4, chunk_elements=chunk_elements)
    assert torch.equal(whole.q, parts.q)
    assert torch.equal(whole.k, parts.k)


def test_half_precision_maps_pass_the_proof(tiny, documents, batches):
    importances(tiny("qwen3", torch.bfloat16), batches(documents(3)))


@pytest.mark.parametrize("family", ["olmo2", "gemma3"])
def test_qk_norms_over_all_heads_and_window_as_long_as_a_row_are_handled(family, tiny, documents, batches):
    assert importances(tiny(family), batches(documents(2))).num_docs == 2


@pytest.mark.parametrize(
    ("family", "changes", "why"),
    [
        ("gemma2", {}, "caps its logits"),
        ("mistral", {"sliding_window": 12}, "its window of 12 is shorter than --seq-len 20"),
        ("cohere", {}, "off by"),  # its RoPE turns neighbours, not halves
    ],
)
def test_attention_that_is_not_handled_is_named_and_ffn_is_the_way_out(family, changes, why, tiny, documents, batches):
    model, docs = tiny(family, **changes), documents(2)
    with pytest.raises(SeaError, match=why) as error:
        importances(model, batches(docs))
    assert type(model.model.layers[0].self_attn).__name__ in error.value.what
    assert "--parts ffn" in (error.value.fix or "")
    assert importances(model, batches(docs), ("ffn", "v")).num_docs == 2


def test_model_without_gated_ffn_is_named(tiny):
    with pytest.raises(SeaError, match="PhiDecoderLayer.*down_proj"):
        Importances(tiny("phi", num_key_value_heads=4), parts=("ffn",), seq_len=20, top_k=0.1)


def test_top_k_takes_the_best_of_each_document_and_nothing_that_changes_nothing():
    importance = torch.tensor([[3.0, 1.0, 2.0, 0.5], [0.0, 0.0, 9.0, 0.0]])
    assert selected_in(importance, top_k=0.5, threshold=None).tolist() == [
        [True, False, True, False],
        [False, False, True, False],
    ]


def test_threshold_is_the_rule_of_the_paper():
    importance = torch.tensor([[3.0, 1.0, 2.0, 0.5]])
    assert selected_in(importance, top_k=None, threshold=2.0).tolist() == [[True, False, True, False]]


selections = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=8)


@given(st.lists(selections, min_size=2, max_size=3))
def test_tau_of_one_is_the_intersection_without_the_shared_core(languages):
    tallies = {
        str(i): {(0, "ffn"): Tally(torch.tensor(docs).sum(0), torch.zeros(5))} for i, docs in enumerate(languages)
    }
    num_docs = {str(i): len(docs) for i, docs in enumerate(languages)}
    sets, num_core = language_sets(tallies, num_docs, min_docs=1.0)
    whole = [set.intersection(*({j for j in range(5) if doc[j]} for doc in docs)) for docs in languages]
    core = set.intersection(*whole)
    assert num_core == len(core)
    for i, members in enumerate(whole):
        assert set(np.flatnonzero(sets[str(i)][0, "ffn"])) == members - core


def test_min_docs_is_the_share_of_documents():
    tallies = {"th": {(0, "ffn"): Tally(torch.tensor([10, 9, 7, 6]), torch.zeros(4))}}
    sets, _ = language_sets(tallies, {"th": 10}, min_docs=0.7)  # 0.7 * 10 is 7.000000000000001 in floating point
    assert sets["th"][0, "ffn"].tolist() == [True, True, True, False]
