"""Log-probabilities of the answers under the reference model: computed once, cached, refused when they are another's.

The reference is MODEL itself, in memory before its first step, so no second model is ever loaded. The file holds
`chosen`, `rejected` f32 [pairs], and in its metadata the digests of model, tokenizer, chat template and pairs.
Several processes take turns with the batches, which are the same for any number of them, and so is the file (up to
rounding where they share the weights).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seatools.dpo.pairs import Pair
from seatools.streams.errors import SeaError
from seatools.streams.messages import Messages
from seatools.streams.progress import Progress
from seatools.streams.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from seatools.engine.trainee import Trainee
    from seatools.engine.world import World

FORMAT = "sea-reference-1"
BATCH_TOKENS = 8192


def reference_metadata(
    *, model: str, tokenizer: str, template: str, pairs: str, num_pairs: int, dtype: str, names: Mapping[str, str]
) -> dict[str, str]:
    """What ties a reference file to its model and its pairs: digests, and the number format it was computed in.

    `names`: what the user calls "model" and "pairs", for messages.
    """
    return {
        "format": FORMAT, "model": model, "tokenizer": tokenizer, "template": template, "pairs": pairs,
        "num_pairs": str(num_pairs), "dtype": dtype, **{f"{key}_name": name for key, name in names.items()},
    }  # fmt: skip


def compute_reference(
    trainee: Trainee,
    pairs: Sequence[Pair],
    *,
    pad_id: int,
    share_prompt: bool,
    world: World,
    messages: Messages,
    batch_tokens: int = BATCH_TOKENS,
) -> dict[str, np.ndarray]:
    """`chosen` and `rejected` float32 [pairs] under the model, without gradients, in batches of about `batch_tokens`.

    Every rank calls it and has all of the values.
    """
    import torch

    from seatools.engine.answer_log_probs import AnswerPair, answer_log_probs, num_computed
    from seatools.engine.loss import target_log_probs

    docs = [AnswerPair(pair.chosen.document, pair.rejected.document, pair.shared) for pair in pairs]
    sizes = [num_computed(doc, share_prompt=share_prompt) for doc in docs]
    groups: list[list[int]] = [[]]
    size = 0
    for number in sorted(range(len(pairs)), key=sizes.__getitem__):
        if size + sizes[number] > batch_tokens and groups[-1]:
            groups.append([])
            size = 0
        groups[-1].append(number)
        size += sizes[number]
    found = torch.zeros(2, len(pairs), dtype=torch.float64)
    log_probs = trainee.root.log_probs if trainee.shared else target_log_probs
    quiet = messages.quiet or not world.is_main
    with torch.no_grad(), Progress("reference", len(pairs), "pairs", quiet) as progress:
        for first in range(0, len(groups), world.size):  # the same calls on every rank, whose weights may be shared
            turn = groups[first : first + world.size]
            mine = turn[world.rank] if world.rank < len(turn) else []
            values = answer_log_probs(
                trainee.model, [docs[number] for number in mine], pad_id, share_prompt=share_prompt,
                log_probs=log_probs,
            )  # fmt: skip
            found[0, mine], found[1, mine] = values.chosen.double().cpu(), values.rejected.double().cpu()
            progress.advance(sum(map(len, turn)))
    chosen, rejected = world.sum(found).float().numpy()
    return {"chosen": chosen, "rejected": rejected}


def save_reference(path: Path, values: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write the cache (atomically)."""
    save_tensors(path, dict(values), dict(metadata))


def load_reference(
    path: Path, expected: Mapping[str, str], messages: Messages, *, fix: str = "make it again with --reference-only"
) -> dict[str, np.ndarray]:
    """Read a cache; SeaError, with `fix`, names what differs when it belongs to another model or other pairs.

    One computed in another number format is good, but the first margins are then not 0: that is said.
    """
    values, metadata = load_tensors(path)
    key = _different(metadata, expected)
    if key is not None:
        what = {"pairs": "preference data", "template": "chat template"}.get(key, key)
        raise SeaError(
            f"{path}: the reference of another {what}: {_named(metadata, key)}, here {_named(expected, key)}",
            fix=fix,
        )
    for name in ("chosen", "rejected"):
        if name not in values or values[name].shape != (int(expected["num_pairs"]),):
            raise SeaError(f"{path}: not a reference file of {expected['num_pairs']} pairs")
        if not np.isfinite(values[name]).all():
            raise SeaError(f"{path}: it holds numbers that are not finite", fix="make it again with --reference-only")
    if metadata.get("dtype") != expected["dtype"]:
        messages.warn(f"{path} was computed in {metadata.get('dtype')}; this run is in {expected['dtype']}")
    return values


def _different(metadata: Mapping[str, str], expected: Mapping[str, str]) -> str | None:
    """What makes a file another's. The tokens decide; a tokenizer or template that makes the same ones is as good."""
    for key in ("format", "model", "pairs"):
        if metadata.get(key) != expected[key]:
            makers = [name for name in ("tokenizer", "template") if metadata.get(name) != expected[name]]
            return makers[0] if key == "pairs" and makers else key
    return None


def _named(metadata: Mapping[str, str], key: str) -> str:
    digest, name = str(metadata.get(key))[:12], metadata.get(f"{key}_name")
    return digest if name is None else f"{name} ({digest})"
