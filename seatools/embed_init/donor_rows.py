"""Rows through another model's embeddings (`--method omp`, arXiv 2506.06607): what the donor says a new token is like.

For a new token that the donor has: its donor row d = sum_i c_i D_i over at most k tokens that donor and base share
(matching_pursuit.py), then row = sum_i c_i B_i with the same tokens' base rows. Tokens are
matched by bytes (token_map.py). Embedding rows go through the donor's embedding, head rows through its head. The atoms
are unit vectors, as OMP has it; mergekit's code takes them as they are and so prefers long rows.
Memory: the donor's rows of the shared tokens in fp32.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seatools.embed_init.array_place import NUMPY, Place
from seatools.embed_init.checkpoint import Checkpoint, read_checkpoint
from seatools.embed_init.combined_rows import Combination
from seatools.embed_init.matching_pursuit import matching_pursuit
from seatools.embed_init.token_map import match_tokens
from seatools.streams.errors import SeaError
from seatools.streams.float_bits import to_float32
from seatools.streams.weight_headers import Tensor
from seatools.text.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Donor:
    """A donor model, known by headers and tokenizer."""

    checkpoint: Checkpoint
    shared: tuple[np.ndarray, np.ndarray]
    """(donor ids, old ids) int64 [shared] of the tokens that both have, the old ones trained."""
    donor_id: dict[int, int]
    """New id -> donor id of the same token, for the rows to make that the donor has."""

    def matrix(self, head: bool) -> Tensor:
        """The donor's head or embedding; its embedding for both if it is tied."""
        own = None if self.checkpoint.tied else self.checkpoint.head
        return own if head and own is not None else self.checkpoint.embedding


def open_donor(folder: Path, old: Tokenizer, new: Tokenizer, ids: Collection[int], trained: Collection[int]) -> Donor:
    """Match the donor's tokens with those of `old` (`trained` ids only) and with the rows `ids` of `new`.

    Errors: as `read_checkpoint` and `load_tokenizer`; `SeaError` for a donor whose tokenizer is not its own, which
    shares no token with the base, or has none of the tokens to make.
    """
    checkpoint = read_checkpoint(folder)
    donor = load_tokenizer(folder)
    if donor.vocab_size > checkpoint.num_rows:
        raise SeaError(
            f"{folder} has token ids up to {donor.vocab_size - 1} and {checkpoint.num_rows} rows",
            fix="--donor is a model folder with its own tokenizer",
        )
    known, wanted = set(trained), set(ids)
    shared = sorted(
        (donor_id, old_id)
        for donor_id, old_id in match_tokens(old, donor).old_id.items()
        if old_id in known and _is_text(old, old_id, donor, donor_id)
    )
    donor_id = {
        new_id: donor_id
        for new_id, donor_id in match_tokens(donor, new).old_id.items()
        if new_id in wanted and _is_text(new, new_id, donor, donor_id)
    }
    if not shared:
        raise SeaError(f"{folder} shares no token with {old.path}", fix="--donor is a model of related languages")
    if wanted and not donor_id:
        raise SeaError(
            f"{folder} has none of the {len(wanted):,} tokens to make", fix="--donor is a model that knows them"
        )
    pairs = np.array(shared, dtype=np.int64)
    return Donor(checkpoint, (pairs[:, 0], pairs[:, 1]), donor_id)


def _is_text(left: Tokenizer, left_id: int, right: Tokenizer, right_id: int) -> bool:
    """True if both tokens stand for the same bytes: special tokens share a name, not a meaning."""
    data = left.piece_bytes(left_id)
    return bool(data) and data == right.piece_bytes(right_id)


def donor_combinations(
    donor: Donor, ids: list[int], num_atoms: int, *, head: bool, place: Place = NUMPY
) -> list[Combination | None]:
    """For each of `ids` (new) the combination of old rows, or None if the donor does not have the token."""
    tensor = donor.matrix(head)
    stored = tensor.open()
    donor_ids, old_ids = donor.shared
    known = [id for id in ids if id in donor.donor_id]
    targets = to_float32(stored[[donor.donor_id[id] for id in known]], tensor.dtype)
    atoms = to_float32(stored[donor_ids], tensor.dtype)
    if not (np.isfinite(targets).all() and np.isfinite(atoms).all()):
        raise SeaError(f'"{tensor.name}" of the donor holds NaN or infinity', where=str(tensor.path))
    chosen, coefficients = matching_pursuit(targets, atoms, num_atoms, place)
    found = {
        id: Combination(old_ids[chosen[row]], coefficients[row].astype(np.float64)) for row, id in enumerate(known)
    }
    return [found.get(id) for id in ids]
