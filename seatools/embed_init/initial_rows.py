"""The values of a matrix's new rows, by the method's name: what each method needs, and what stands in where it cannot.

A token without pieces (special tokens, what the old vocabulary cannot spell) gets the mean row from the methods that
go by pieces; a token that focus, omp or distill cannot reach (not in the text, not in the donor) gets its sub-word
mean. `used` says so row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seatools.embed_init.array_place import Place, open_place
from seatools.embed_init.checkpoint import Checkpoint
from seatools.embed_init.combined_rows import PIECE_WEIGHTS, Combination, combined_rows, piece_combination
from seatools.embed_init.donor_rows import Donor, donor_combinations
from seatools.embed_init.old_rows import (
    chunks,
    mean_and_covariance,
    mean_and_deviation,
    mean_norm,
    mean_row,
    row_norms,
    with_norm,
)
from seatools.embed_init.options import EmbedInitOptions
from seatools.embed_init.random_rows import (
    covariance_root,
    diagonal_rows,
    gaussian_rows,
    multivariate_rows,
    xavier_rows,
)
from seatools.embed_init.token_map import TokenMap
from seatools.streams.errors import SeaError
from seatools.streams.messages import Messages
from seatools.streams.weight_headers import Tensor, vocabulary_config
from seatools.text.tokenizer import Tokenizer

EMBEDDING, HEAD = 0, 1
"""The matrix, for draws."""


@dataclass(frozen=True)
class NewRows:
    """Which rows are to be made, and what is known of them."""

    checkpoint: Checkpoint
    tokens: TokenMap
    pieces: dict[int, list[int]]
    """Id of the new tokenizer -> old ids that spell it, perhaps none, for each row to make."""
    num_rows: int
    reinit: frozenset[int] = frozenset()
    """Those of them that are not new tokens."""
    untrained: frozenset[int] = frozenset()
    """Old ids whose rows say nothing, see existing_tokens.py."""

    @cached_property
    def ids(self) -> list[int]:
        """The rows to make, ascending."""
        return sorted({*self.tokens.new, *self.reinit})

    @cached_property
    def trained(self) -> list[int]:
        """The old rows that mean something, ascending."""
        return [id for id in self.tokens.old_in_use if id not in self.untrained]


class InitialRows:
    """Makes rows matrix by matrix; what both matrices need is made once."""

    def __init__(
        self,
        rows: NewRows,
        options: EmbedInitOptions,
        old: Tokenizer,
        new: Tokenizer,
        *,
        donor: Donor | None = None,
        text: dict[str, list[str]] | None = None,
        device: str = "cpu",
        messages: Messages | None = None,
    ) -> None:
        self.rows, self.options, self.old, self.new = rows, options, old, new
        self.donor, self.text, self.device = donor, text or {}, device
        self.messages = messages or Messages(quiet=True)
        self.place: Place = open_place(device)

    def make(self, tensor: Tensor, method: str, matrix: int) -> tuple[np.ndarray, list[str]]:
        """(values fp32 [rows.ids, columns], the method that each row really has) for the embedding or the head."""
        stored, dtype, trained = tensor.open(), tensor.dtype, self.rows.trained
        values, used = self._values(tensor, stored, method, matrix)
        if self.options.norm_match:
            values = with_norm(values, mean_norm(stored, dtype, trained))
        return values, used

    def _values(self, tensor: Tensor, stored: np.ndarray, method: str, matrix: int) -> tuple[np.ndarray, list[str]]:
        ids, dtype, trained, seed = self.rows.ids, tensor.dtype, self.rows.trained, self.options.seed
        columns = stored.shape[1]
        same = [method] * len(ids)
        if method == "gaussian":
            return gaussian_rows(ids, columns, _initializer_range(self.rows.checkpoint), seed, matrix), same
        if method == "xavier":
            return xavier_rows(ids, columns, self.rows.num_rows, seed, matrix), same
        if method == "gaussian-diagonal":
            mean, deviation = mean_and_deviation(stored, dtype, trained)
            return diagonal_rows(ids, mean, deviation, seed, matrix), same
        if method == "gaussian-full":
            mean, covariance = mean_and_covariance(stored, dtype, trained, self.place)
            if not np.isfinite(self.place.get(covariance.diagonal())).all():
                what = f'"{tensor.name}" holds NaN or infinity, so it has no covariance'
                raise SeaError(what, where=str(tensor.path))
            root = covariance_root(covariance, len(trained), self.place)
            return multivariate_rows(ids, mean, root, seed, matrix, self.place), same
        if method == "mean":
            return combined_rows(stored, dtype, [None] * len(ids), mean_row(stored, dtype, trained)), same
        if method == "distill":
            return self._distilled(tensor, stored)
        by_pieces = method if method in PIECE_WEIGHTS else "subword-mean"
        combinations: list[Combination | None] = [
            piece_combination(by_pieces, self.rows.pieces[id]) if self.rows.pieces[id] else None for id in ids
        ]
        used = [by_pieces if combination else "mean" for combination in combinations]
        if method in ("focus", "omp"):
            for position, better in enumerate(self._of_others(method, matrix)):
                if better is not None:
                    combinations[position], used[position] = better, method
        fallback = mean_row(stored, dtype, trained) if None in combinations else np.zeros(columns, np.float32)
        return combined_rows(stored, dtype, combinations, fallback), used

    def _of_others(self, method: str, matrix: int) -> Sequence[Combination | None]:
        if method == "focus":
            return self._focus
        assert self.donor is not None
        columns = self.donor.matrix(matrix == HEAD).shape[1]
        if self.options.omp_k * 2 > columns:
            self.messages.warn(
                f"--omp-k {self.options.omp_k} is much for a donor of {columns} columns: its rows are no longer sparse "
                "codes, and coefficients grow large"
            )
        return donor_combinations(self.donor, self.rows.ids, self.options.omp_k, head=matrix == HEAD, place=self.place)

    @cached_property
    def _documents(self) -> list[np.ndarray]:
        from seatools.embed_init.user_text import token_documents

        return token_documents(self.text, self.new, self.options.max_tokens)

    @cached_property
    def _focus(self) -> list[Combination | None]:
        """The same for both matrices."""
        from seatools.embed_init.sparse_similarity import similar_rows
        from seatools.embed_init.token_vectors import token_vectors

        ids, vectors = token_vectors(self._documents, self.new, self.options.seed)
        asked, trained = set(self.rows.ids), set(self.rows.trained)
        old_id = self.rows.tokens.old_id
        is_new = np.array([id in asked for id in ids.tolist()], dtype=bool)
        is_old = np.array([id not in asked and old_id.get(id) in trained for id in ids.tolist()], dtype=bool)
        if not is_old.any():
            raise SeaError("--text: no old token occurs often enough to learn from", fix="give more text")
        anchors = np.array([old_id[id] for id in ids[is_old].tolist()], dtype=np.int64)
        found = dict(
            zip(ids[is_new].tolist(), similar_rows(vectors[is_new], vectors[is_old], anchors, self.place), strict=True)
        )
        return [found.get(id) for id in self.rows.ids]

    def _distilled(self, tensor: Tensor, stored: np.ndarray) -> tuple[np.ndarray, list[str]]:
        from seatools.embed_init.distillation import distilled_rows
        from seatools.embed_init.token_contexts import find_contexts

        rows, options = self.rows, self.options
        values, used = self._values(tensor, stored, "subword-mean", EMBEDDING)
        if not np.isfinite(values).all():
            return values, used  # refused by whoever stores them
        spelled: dict[int, Sequence[int]] = {new: [old] for new, old in rows.tokens.old_id.items()}
        spelled |= rows.pieces
        found = find_contexts(self._documents, spelled, rows.ids, self.old.bos_id, options.steps, options.seed)
        lr = options.lr if options.lr is not None else 0.01 * _root_mean_square(tensor, stored, rows.trained)
        contexts = {position: found[id] for position, id in enumerate(rows.ids) if id in found}
        made, losses = distilled_rows(
            rows.checkpoint.folder, values, contexts, steps=options.steps, lr=lr, device=self.device
        )
        if losses:
            tenth = max(1, len(losses) // 10)
            self.messages.info(
                f"distill: {len(contexts):,} of {len(rows.ids):,} rows have contexts; squared difference of hidden "
                f"states {np.mean(losses[:tenth]):.4g} at first, {np.mean(losses[-tenth:]):.4g} at last"
            )
        for position in contexts:
            used[position] = "distill"
        return made, used


def _initializer_range(checkpoint: Checkpoint) -> float:
    config = checkpoint.config
    return vocabulary_config(config).get("initializer_range", config.get("initializer_range", 0.02))


def _root_mean_square(tensor: Tensor, stored: np.ndarray, ids: list[int]) -> float:
    """Of all numbers in the rows `ids`."""
    from seatools.streams.float_bits import to_float32

    squares = sum(
        float(np.square(row_norms(to_float32(stored[chunk], tensor.dtype))).sum())
        for chunk in chunks(np.asarray(ids), stored.shape[1])
    )
    return (squares / (len(ids) * stored.shape[1])) ** 0.5
