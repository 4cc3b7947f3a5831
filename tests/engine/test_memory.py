"""The arithmetic of memory against what autograd, the optimiser and the model really hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tiny_families import tiny

from seatools.engine.flops import place_of
from seatools.engine.loss import batch_loss, forward_hidden
from seatools.engine.memory import MemoryOptions, activation_bytes, plan_memory
from seatools.engine.optimise import MasterAdamW
from seatools.engine.planned_model import Part
from seatools.engine.rows import make_batch
from seatools.engine.selected import select

ROWS, LENGTH = 2, 48
TRAINED = {
    "all": [""], "layer": ["layers.1."], "up": ["up_proj"], "down": ["down_proj"], "values": ["v_proj"],
    "norm": ["norm"], "head": ["lm_head"],
}  # fmt: skip


def shapes_of(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def options(dtype: torch.dtype, **more: Any) -> MemoryOptions:
    return MemoryOptions(width=dtype.itemsize, rows=ROWS, seq_len=LENGTH, **more)


def train_whole(model: Any, words: Sequence[str]) -> dict[str, Part]:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(word in name for word in words))
    return {name: Part(p.numel()) for name, p in model.named_parameters() if p.requires_grad}


def train_neurons(model: Any) -> dict[str, Part]:
    index = torch.tensor([1, 4, 7])
    rows = [(name, 0, index) for name in shapes_of(model) if "up_proj" in name or "q_proj" in name]
    columns = [(name, 1, index) for name in shapes_of(model) if "down_proj" in name]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return {name: Part(s.values.numel(), s.dim) for name, s in select(model, [*rows, *columns])}


def batch(model: Any) -> Any:
    ids = [3 + i % 90 for i in range(LENGTH // 2)]
    return make_batch([[(ids, [1] * len(ids))] * 2] * ROWS)


def kept_by_autograd(model: Any) -> float:
    """Bytes a token of everything that the decoder's forward pass keeps for its backward, weights left out."""
    ours = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, tuple[int, Any]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # held, so that no address comes twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward_hidden(model, batch(model))
    return sum(size for size, _ in kept.values()) / (ROWS * LENGTH)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma3"])
@pytest.mark.parametrize("trained", [*TRAINED, "neurons"])
def test_activations_are_what_autograd_keeps(dtype, family, trained):
    model = tiny(family, dtype, tie_word_embeddings=False)
    parts = train_neurons(model) if trained == "neurons" else train_whole(model, TRAINED[trained])
    counted = activation_bytes(shapes_of(model), model.config.to_dict(), parts, options(dtype))
    measured = kept_by_autograd(model)
    if min(map(place_of, parts)) < (0, 0):
        assert counted == pytest.approx(measured, rel=0.05 if family == "gemma3" else 0.01)
    else:  # of the lowest trained layer some is not kept: what is counted is an upper bound by less than that layer
        sizes = options(dtype)
        of_all = activation_bytes(shapes_of(model), model.config.to_dict(), everything(model), sizes)
        assert measured - 16 <= counted <= measured + of_all / model.config.num_hidden_layers


@pytest.mark.parametrize("attention", ["sea_varlen", "sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_attention_keeps_what_is_counted(attention, dtype):
    from seatools.engine import attention as document_attention

    document_attention.register()
    model = tiny("llama", dtype, attention=attention)
    counted = activation_bytes(
        shapes_of(model), model.config.to_dict(), everything(model), options(dtype, attention=attention)
    )
    assert counted == pytest.approx(kept_by_autograd(model), rel=0.01 if attention != "eager" else 0.1)


def test_recomputation_keeps_what_is_counted():
    from seatools.engine.recompute import recompute_blocks

    for how in ("selective", "full"):
        sizes = []
        for layers in (2, 6):  # what one layer makes again in the backward pass is in the figure, and in neither pass
            model = tiny("llama", num_hidden_layers=layers, attention="sdpa")
            recompute_blocks(model, how)
            counted = activation_bytes(
                shapes_of(model), model.config.to_dict(), everything(model), options(torch.float32, recompute=how)
            )
            sizes.append((counted, kept_by_checkpoints(model)))
        growth, measured = (after - before for before, after in zip(*sizes, strict=True))
        assert growth == pytest.approx(measured, rel=0.05), how


def kept_by_checkpoints(model: Any) -> float:
    """Bytes a token of the tensors that the forward pass leaves behind, wherever they are held."""
    import gc

    rows = batch(model)
    gc.freeze()  # what is there now does not show below
    try:
        hidden = forward_hidden(model, rows)
        tensors = [x for x in gc.get_objects() if type(x) in (torch.Tensor, torch.nn.Parameter)]
    finally:
        gc.unfreeze()
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}
    return (sum(storages.values()) - hidden.untyped_storage().nbytes()) / (ROWS * LENGTH)


def everything(model: Any) -> dict[str, Part]:
    return {name: Part(math.prod(shape)) for name, shape in shapes_of(model).items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trained", ["all", "layer", "neurons"])
@pytest.mark.parametrize("state", [torch.float32, torch.bfloat16])
def test_static_memory_is_the_tensors(dtype, trained, state):
    model = tiny("llama", dtype)
    parts = train_neurons(model) if trained == "neurons" else train_whole(model, TRAINED[trained])
    planned = plan_memory(shapes_of(model), model.config.to_dict(), parts, options(dtype, state_width=state.itemsize))
    if trained == "neurons":
        from seatools.engine.selected import selected_parts

        found = [selected_parts(module).weight for module in model.modules()]
        targets: Any = [(part.name, part) for part in found if part is not None]
    else:
        targets = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    optimizer = MasterAdamW(targets, state_dtype=state)
    batch_loss(model, batch(model)).total.backward()
    gradients = optimizer.gather()
    tensors = {k: v for k, v in optimizer.state_dict().items() if k != "step" and not k.endswith(".index")}
    own = sum(v.nbytes for k, v in tensors.items() if k.endswith(".master"))
    assert planned.weights == sum(p.nbytes for p in model.parameters())
    assert planned.gradients == sum(g.nbytes for g in gradients)
    assert planned.moments == sum(v.nbytes for v in tensors.values()) - own
    assert planned.masters == own


def test_recomputation_and_sharding_take_less():
    model = tiny("llama")
    shapes, config, parts = shapes_of(model), model.config.to_dict(), everything(model)

    def planned(**more: Any) -> Any:
        return plan_memory(shapes, config, parts, options(torch.bfloat16, **more))

    none, selective, full = (planned(recompute=how).activations for how in ("none", "selective", "full"))
    assert full < selective < none
    alone, four = planned(), planned(ranks=4, sharded=True)
    count = sum(map(math.prod, shapes.values()))
    assert (four.weights, four.gradients, four.moments, four.masters) == (count, count, 2 * count, 0)
    assert four.activations == alone.activations and four.gathered > alone.gathered


@pytest.mark.parametrize("cap", [None, 30.0])
def test_the_head_of_answers_holds_what_is_counted(monkeypatch: pytest.MonkeyPatch, cap: float | None) -> None:
    """Chunks of probabilities that its log-probabilities keep for their backward pass, and none with a soft cap."""
    from seatools.engine import loss, memory

    tokens, vocabulary, width = 300, 1000, 16
    for module in (loss, memory):
        monkeypatch.setattr(module, "KEPT_ELEMENTS_CPU", 150 * vocabulary)
        monkeypatch.setattr(module, "CHUNK_ELEMENTS_CPU", 1)
        monkeypatch.setattr(module, "CHUNK_TOKENS_CPU", 50)
    made = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, width, generator=made, requires_grad=True) for n in (tokens, vocabulary))
    values = loss.linear_log_probs(hidden, torch.arange(tokens), loss.Head(weight, None, 1.0, cap))
    kept = sum(chunk.nbytes for chunk in values.grad_fn.kept.values())
    planned = [
        plan_memory(
            {"model.embed_tokens.weight": (vocabulary, width)}, {"hidden_size": width, "final_logit_softcapping": cap},
            {}, MemoryOptions(width=4, rows=1, seq_len=tokens, of_answers=answers),
        ).head
        for answers in (False, True)
    ]  # fmt: skip
    assert planned[1] - planned[0] == kept == (0 if cap else 150 * vocabulary * 4)
