"""Token Distillation: the gradient, what moves, and that the hidden states come nearer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from tiny_folders import byte_level, llama, load

from seatools.embed_init import distillation
from seatools.embed_init.distillation import distilled_rows
from seatools.embed_init.token_contexts import NEW, Context


def _context(before: list[int], pieces: list[int], after: list[int]) -> Context:
    paired = [*range(len(before)), *range(len(before) + len(pieces) - 1, len(before) + len(pieces) + len(after))]
    return Context(np.array([*before, *pieces, *after]), np.array([*before, NEW, *after]), np.array(paired))


CONTEXTS = {
    0: [_context([5, 6], [10, 11], [7, 8]), _context([], [10, 11], [9])],
    2: [_context([1, 2, 3, 4], [20, 21, 22], [])],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return llama(byte_level(tmp_path / "model", []), 258, tied=True)


def _start(folder: Path) -> np.ndarray:
    table = load(folder).get_input_embeddings().weight.detach()
    rows = [table[[10, 11]].mean(0), table[0], table[[20, 21, 22]].mean(0)]
    return torch.stack(rows).numpy()


def _difference(model: Any, row: torch.Tensor, context: Context) -> torch.Tensor:
    """The loss of one context by its definition: one document, no batch, embeddings put in by hand."""
    table = model.get_input_embeddings().weight
    wanted = model.model(torch.from_numpy(context.pieces)[None]).last_hidden_state[0][context.paired]
    ids = torch.from_numpy(np.maximum(context.merged, 0))
    embeds = torch.where(torch.from_numpy(context.merged == NEW)[:, None], row, table[ids])
    got = model.model(inputs_embeds=embeds[None]).last_hidden_state[0]
    first = int((context.merged == NEW).argmax())
    return (got[first:] - wanted[first:].detach()).square().mean()


def test_one_step_is_adams_by_the_definition(folder: Path) -> None:
    start, model = _start(folder), load(folder)
    rows, losses = distilled_rows(folder, start, CONTEXTS, steps=2, lr=0.01, device="cpu")
    expected = torch.from_numpy(start.copy())
    total = 0.0
    for position in CONTEXTS:
        row = expected[position].clone().requires_grad_(True)
        adam = torch.optim.Adam([row], lr=0.01)
        for step in range(2):
            adam.zero_grad()
            loss = _difference(model, row, CONTEXTS[position][step % len(CONTEXTS[position])])
            loss.backward()
            adam.step()
            total += loss.item()
        expected[position] = row.detach()
    assert np.allclose(rows, expected, atol=2e-6)
    assert sum(losses) * len(CONTEXTS) == pytest.approx(total, rel=1e-4)


def test_rows_without_contexts_stay_and_the_model_too(folder: Path) -> None:
    start, before = _start(folder), (folder / "model.safetensors").read_bytes()
    rows, _ = distilled_rows(folder, start, CONTEXTS, steps=2, lr=0.01, device="cpu")
    assert np.array_equal(rows[1], start[1]) and not np.array_equal(rows[0], start[0])
    assert (folder / "model.safetensors").read_bytes() == before


def test_the_difference_falls(folder: Path) -> None:
    _, losses = distilled_rows(folder, _start(folder), {2: CONTEXTS[2]}, steps=60, lr=0.005, device="cpu")
    assert losses[-1] < 0.7 * losses[0]


def test_a_row_does_not_depend_on_the_others_or_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = _start(folder)
    together, _ = distilled_rows(folder, start, CONTEXTS, steps=3, lr=0.01, device="cpu")
    alone, _ = distilled_rows(folder, start, {2: CONTEXTS[2]}, steps=3, lr=0.01, device="cpu")
    monkeypatch.setattr(distillation, "_batch_rows", lambda model: 1)
    one_by_one, _ = distilled_rows(folder, start, CONTEXTS, steps=3, lr=0.01, device="cpu")
    assert np.allclose(together[2], alone[2], atol=1e-5) and np.allclose(together, one_by_one, atol=1e-5)


@pytest.mark.parametrize("scaled", [hf.Gemma2Config, hf.Gemma3TextConfig], ids=["gemma2", "gemma3"])
def test_models_that_scale_their_embeddings(tmp_path: Path, scaled: Any) -> None:
    """A row that is one old token's, read in that token's place, changes nothing: the difference is zero."""
    config = scaled(
        vocab_size=258, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, bos_token_id=0, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    start = model.get_input_embeddings().weight.detach()[[12]].numpy().copy()
    _, losses = distilled_rows(tmp_path, start, {0: [_context([3, 4], [12], [5])]}, steps=1, lr=1e-9, device="cpu")
    assert losses[0] < 1e-12
