"""Log-probabilities of the answers under the reference model: computed once, cached, refused when they are another's.

The file is DESIGN's: `chosen`, `rejected` f32 [pairs], with the digests of model and pairs in the metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seatools.dpo.pairs import Pair
from seatools.streams.errors import SeaError
from seatools.streams.messages import Messages
from seatools.streams.progress import Progress
from seatools.streams.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def reference_metadata(model_digest: str, data_digest: str, num_pairs: int, dtype: str) -> dict[str, str]:
    """What ties a reference file to its model and its pairs, and the number format it was computed in."""
    return {
        "format": "sea-reference-1",
        "model": model_digest,
        "pairs": data_digest,
        "num_pairs": str(num_pairs),
        "dtype": dtype,
    }


def compute_reference(
    model: PreTrainedModel, pairs: Sequence[Pair], pad_id: int, *, batch_tokens: int, messages: Messages
) -> dict[str, np.ndarray]:
    """`chosen` and `rejected` float32 [pairs] under `model`, without gradients, in batches of about `batch_tokens`."""
    from seatools.engine.sequences import score_documents

    docs = [doc.document for pair in pairs for doc in (pair.chosen, pair.rejected)]
    with Progress("reference", len(docs), "answers", messages.quiet) as progress:
        values = score_documents(model, docs, pad_id, batch_tokens=batch_tokens, advance=progress.advance)
    return {"chosen": values[0::2].astype(np.float32), "rejected": values[1::2].astype(np.float32)}


def save_reference(path: Path, values: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write the cache (atomically)."""
    save_tensors(path, values, metadata)


def load_reference(path: Path, expected: dict[str, str], messages: Messages) -> dict[str, np.ndarray]:
    """Read a cache; SeaError names what differs when it belongs to another model or other pairs.

    One computed in another number format is good, but the first margins are then not 0: that is said.
    """
    values, metadata = load_tensors(path)
    for key, what in (("format", "format"), ("model", "model"), ("pairs", "preference data")):
        if metadata.get(key) != expected[key]:
            raise SeaError(
                f"{path}: the reference of another {what}: {str(metadata.get(key))[:12]}, here {expected[key][:12]}",
                fix="make it again with --reference-only",
            )
    for name in ("chosen", "rejected"):
        if name not in values or values[name].shape != (int(expected["num_pairs"]),):
            raise SeaError(f"{path}: not a reference file of {expected['num_pairs']} pairs")
    if metadata.get("dtype") != expected["dtype"]:
        messages.warn(f"{path} was computed in {metadata.get('dtype')}; this run is in {expected['dtype']}")
    return values
