"""Token Distillation (Dobler, Elliott & de Melo, arXiv 2505.20133): rows that make the model see what it saw before.

For a new token t with pieces p: minimise over its input row e_t the mean of || H(.., t, ..)_j - H(.., p, ..)_m(j) ||^2
over the positions j of a context from t on, H the last hidden states after the final norm, m(j) the same place in the
piecewise reading (token_contexts.py). All else is frozen; the start is subword-mean. As in the authors' code: contexts
of 50 tokens, one new token in each, 100 of them, Adam without decay, constant rate. Adam is kept row by row and each
round takes one context of every token, so a row depends on its own contexts only (up to rounding).
Cost: steps * tokens * 50 tokens through the model, forward twice and back once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seatools.embed_init.token_contexts import CONTEXT, NEW, Context

if TYPE_CHECKING:
    import torch

_BATCH_BYTES = {"cpu": 1 << 30, "cuda": 16 << 30}
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


def distilled_rows(
    model_folder: Path,
    start: np.ndarray,
    contexts: Mapping[int, Sequence[Context]],
    *,
    steps: int,
    lr: float,
    device: str,
) -> tuple[np.ndarray, list[float]]:
    """(rows fp32 [rows, columns], mean loss of each round) after `steps` updates of each row that has contexts.

    `start` fp32 [rows, columns]; `contexts`: position in `start` -> contexts, used in turn. Errors: as `open_model`.
    """
    import torch

    from seatools.engine.load import open_model

    model = open_model(model_folder, device=device, dtype="auto", packing=False)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    rows = torch.from_numpy(start.copy()).to(model.device)
    first, second = torch.zeros_like(rows), torch.zeros_like(rows)
    num_rows = _batch_rows(model)
    losses = []
    for step in range(steps):
        total = 0.0
        for members in _batches(contexts, step, num_rows):
            batch = [contexts[member][step % len(contexts[member])] for member in members]
            index = torch.tensor(members, device=rows.device)
            made = rows[index].requires_grad_(True)
            loss = _loss(model, made, batch)
            (slope,) = torch.autograd.grad(loss, made)
            total += float(loss.detach())
            first[index] = torch.lerp(slope, first[index], _BETAS[0])
            second[index] = torch.lerp(slope.square(), second[index], _BETAS[1])
            mean = first[index] / (1 - _BETAS[0] ** (step + 1))
            spread = (second[index] / (1 - _BETAS[1] ** (step + 1))).sqrt()
            rows[index] -= lr * mean / (spread + _EPSILON)
        losses.append(total / max(1, len(contexts)))
    return rows.cpu().numpy(), losses


def _batch_rows(model: Any) -> int:
    """How many contexts go together. The result does not depend on it; small models want many (457 rows of
    stories260K: 16 at a time 23 s a round on two busy cores, all at once 3.3 s)."""
    config = model.config.get_text_config(decoder=True)
    # About 34 numbers a token, layer and column are kept for the way back (Korthikanti et al. 2022, section 4.1).
    each = CONTEXT * config.num_hidden_layers * config.hidden_size * 34 * model.dtype.itemsize
    return max(1, min(1024, _BATCH_BYTES[model.device.type] // each))


def _batches(contexts: Mapping[int, Sequence[Context]], step: int, num_rows: int) -> Iterator[list[int]]:
    """The rows that have contexts, those with contexts of like length together."""
    members = sorted(contexts, key=lambda member: (len(contexts[member][step % len(contexts[member])].pieces), member))
    for start in range(0, len(members), num_rows):
        yield members[start : start + num_rows]


def _loss(model: Any, made: torch.Tensor, batch: Sequence[Context]) -> torch.Tensor:
    """Sum over the contexts of the mean squared difference; context i has row `made[i]` where its ids say `NEW`."""
    import torch

    with torch.no_grad():
        wanted = _hidden(model, [context.pieces for context in batch])
        wanted = torch.cat([wanted[i, _tensor(context.paired, made)] for i, context in enumerate(batch)])
    merged = [context.merged for context in batch]
    width = max(map(len, merged))
    new = torch.from_numpy(np.stack([np.pad(ids == NEW, (0, width - len(ids))) for ids in merged])).to(made.device)
    embedding = model.get_input_embeddings()

    def put_rows(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        return torch.where(new[..., None], (made * _scale(module)).to(output.dtype)[:, None], output)

    handle = embedding.register_forward_hook(put_rows)
    try:
        got = _hidden(model, [np.maximum(ids, 0) for ids in merged])
    finally:
        handle.remove()
    # Before the token both readings are the same, so only what comes from it on is compared.
    counted = [np.arange(int((ids == NEW).argmax()), len(ids)) for ids in merged]
    offsets = np.cumsum([0, *map(len, merged)])
    picked = torch.cat([got[i, _tensor(places, made)] for i, places in enumerate(counted)]).float()
    same = _tensor(np.concatenate([offset + places for offset, places in zip(offsets, counted, strict=False)]), made)
    per_position = (picked - wanted[same].float()).square().mean(dim=1)
    weights = np.concatenate([np.full(len(places), 1 / len(places)) for places in counted])
    return (per_position * torch.from_numpy(weights).to(per_position)).sum()


def _hidden(model: Any, rows: Sequence[np.ndarray]) -> torch.Tensor:
    """Last hidden states [rows, longest, columns]; shorter rows are filled up behind, where nothing looks."""
    from seatools.engine.loss import forward_hidden
    from seatools.engine.rows import make_batch

    batch = make_batch([[(ids, np.zeros(len(ids), np.uint8))] for ids in rows], device=model.device)
    return forward_hidden(model, batch)


def _scale(embedding: Any) -> Any:
    """What the embedding module multiplies its rows by (Gemma 3 and others); 1 where it does not."""
    return getattr(embedding, "embed_scale", 1.0)


def _tensor(positions: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.from_numpy(positions).to(like.device)
