"""Proof through transformers, part of `--verify`: the old tokens' logits are the old model's, bit for bit, in fp32.

Old ids and where they went are run through both models, one after the other, so only one is in memory. Each head is cut
to the kept tokens' rows in the same order first: BLAS adds up a column in another order when the matrix has other
columns beside it, and with equal heads every other number is computed alike. The whole head is run
too, for its shape and for NaN. Cost: two loads in fp32, four passes over 64 positions; memory: one model in fp32.
"""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seatools.embed_init.checkpoint import Checkpoint
from seatools.streams.errors import CheckFailed, SeaError

if TYPE_CHECKING:
    import torch

POSITIONS = 64
_ROUNDING = 1e-4
"""Of the largest logit: what the order of a sum may change in fp32."""


@dataclass(frozen=True)
class KeptTokens:
    """Tokens whose rows did not change, by old and by new id: int64 [kept] each, the same token at each position."""

    old: np.ndarray
    new: np.ndarray


def prove_logits(model: Path, out: Path, checkpoint: Checkpoint, kept: KeptTokens, text: list[int], rows: int) -> int:
    """Compare the logits of all kept tokens; returns the number of positions compared.

    `text`: places in `kept`, a text in old tokens; a second input is spread over all kept tokens. Raises `CheckFailed`
    for a difference, a broken tie, an OUT that transformers does not load; `SeaError` if MODEL itself cannot be run.
    """
    spread = np.linspace(0, len(kept.old) - 1, min(POSITIONS, len(kept.old))).astype(np.int64)
    inputs = [np.asarray(places, dtype=np.int64)[:POSITIONS] for places in (text, spread) if len(places)]
    before, was_tied = _run(model, kept.old, inputs, checkpoint.num_rows)
    try:
        after, is_tied = _run(out, kept.new, inputs, rows)
    except SeaError as error:
        raise CheckFailed(f"transformers cannot use it: {error.what}", where="OUT", fix=error.fix) from error
    if was_tied != is_tied:
        ties = "no longer ties the head" if was_tied else "now ties the head"
        raise CheckFailed(f"transformers {ties} to the embedding", where="OUT/config.json")
    for places, left, right in zip(inputs, before, after, strict=True):
        unequal = left.view(np.int32) != right.view(np.int32)
        if unequal.any():
            position, column = (int(place[0]) for place in np.nonzero(unequal))
            raise CheckFailed(
                f"logits of old tokens differ: {unequal.sum():,} of {unequal.size:,}, by up to "
                f"{np.abs(left - right).max():.3g}; the first after {position + 1} tokens (the last of them id "
                f"{kept.new[places[position]]}) for id {kept.new[column]}, {kept.old[column]} in the old model",
                where="OUT",
            )
    return sum(map(len, after))


def check_memory(checkpoint: Checkpoint) -> None:
    """`SeaError` if the model in fp32 does not fit into the memory that is free, as far as Linux tells."""
    numbers = sum(math.prod(tensor.shape) for tensors in checkpoint.files.values() for tensor in tensors)
    needed = 4 * (numbers + 2 * checkpoint.num_rows * checkpoint.hidden_size)
    free = _free_memory()
    if free is not None and needed > free:
        raise SeaError(
            f"--verify runs the model in fp32, which takes {needed:,} bytes; {free:,} are free",
            fix="leave out --verify, or run it on a machine that can hold the model",
        )


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None)


def _run(folder: Path, head_rows: np.ndarray, inputs: list[np.ndarray], rows: int) -> tuple[list[np.ndarray], bool]:
    """Logits [positions, kept] of each input, and whether the head is the embedding. `inputs`: places in it."""
    import torch

    from seatools.engine.load import load_model, max_positions

    model: Any = load_model(folder, device="cpu", dtype=torch.float32, packing=False)
    try:
        for parameter in model.parameters():  # views into the file begin anywhere, and kernels go by alignment
            parameter.data = parameter.data.clone()
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        if head is None:
            raise SeaError("transformers finds no head in this architecture, so nothing can be verified")
        tied = embedding.weight.data_ptr() == head.weight.data_ptr()
        for name, found in (("embedding", embedding.weight), ("head", head.weight)):
            if found.shape[0] != rows:
                raise SeaError(f"transformers sees {found.shape[0]} rows of the {name}, not {rows}")
        limit = max_positions(model.config) or POSITIONS
        ids = [torch.from_numpy(head_rows[chosen][:limit])[None] for chosen in inputs]
        whole = [_logits(model, each) for each in ids]
        chosen_rows = torch.from_numpy(head_rows)
        head.weight = torch.nn.Parameter(head.weight.data[chosen_rows], requires_grad=False)
        if getattr(head, "bias", None) is not None:
            head.bias = torch.nn.Parameter(head.bias.data[chosen_rows], requires_grad=False)
        logits = [_logits(model, each) for each in ids]
        for full, cut in zip(whole, logits, strict=True):
            _check_whole(full, cut, head_rows, rows)
        return logits, tied
    finally:
        del model
        gc.collect()  # modules hold each other in cycles; the next model needs the room


def _logits(model: Any, ids: torch.Tensor) -> np.ndarray:
    import torch

    with torch.no_grad():
        logits: np.ndarray = model(input_ids=ids, use_cache=False).logits[0].float().numpy()
    return logits


def _check_whole(full: np.ndarray, cut: np.ndarray, head_rows: np.ndarray, rows: int) -> None:
    """The logits as a user of the model gets them: one a row, finite, and for kept tokens those of the cut head."""
    if full.shape[1] != rows:
        raise SeaError(f"the model gives {full.shape[1]} logits a position, not {rows}")
    if not np.isfinite(full).all():
        column = int(np.flatnonzero(~np.isfinite(full).all(axis=0))[0])
        raise SeaError(f"the logit of id {column} is NaN or infinite")
    if np.abs(full[:, head_rows] - cut).max() > _ROUNDING * max(1.0, float(np.abs(full).max())):
        raise SeaError("logits of kept tokens depend on the other rows of the head")
