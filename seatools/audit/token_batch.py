"""Where tokens stand in the text: what comes back as it was, which words stay whole, which tokens go on inside a word.

Tokens are laid over the text by their lengths and compared with it eight bytes at a time. A document whose pieces are
its text (after one leading space, a dummy prefix, at most) is proven to come back wherever the engine's decoder is
known to join pieces; only the others are decoded. Cost: 25 ns a token, where decoding takes 450.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from seatools.text.piece_table import HEAD, PieceTable, masks, words_of
from seatools.text.text_batch import Spans, TextBatch


@dataclass(frozen=True)
class Encoded:
    """The ids of some documents in a row."""

    ids: np.ndarray
    """[tokens] integers."""
    num_tokens: np.ndarray
    """[docs] int64."""

    @classmethod
    def of(cls, encoded: Sequence[Sequence[int]]) -> Encoded:
        """From the lists that `Tokenizer.encode_batch` gives."""
        num_tokens = np.fromiter(map(len, encoded), np.int64, len(encoded))
        ids = np.fromiter(chain.from_iterable(encoded), np.int32, int(num_tokens.sum()))
        return cls(ids, num_tokens)

    def docs(self, numbers: Iterable[int]) -> list[list[int]]:
        """The ids of some documents as lists."""
        ends = np.cumsum(self.num_tokens)
        return [self.ids[ends[number] - self.num_tokens[number] : ends[number]].tolist() for number in numbers]


class TokenBatch:
    """`encoded` laid over `text`."""

    def __init__(self, text: TextBatch, encoded: Encoded, table: PieceTable) -> None:
        self.text, self.encoded, self.table = text, encoded, table
        lengths = table.num_bytes[encoded.ids]
        begins = np.cumsum(lengths, dtype=np.int32)  # batches are far below 2 GB
        begins -= lengths
        self._doc_ends = np.cumsum(encoded.num_tokens)  # in tokens
        byte_ends = np.append(begins, begins[-1:] + lengths[-1:])[self._doc_ends] if len(begins) else self._doc_ends
        byte_begins = np.concatenate(([0], byte_ends[:-1]))
        self._extra = byte_ends - byte_begins - text.num_bytes  # bytes of the pieces beyond those of the text
        shifts = text.begins - (self._extra == 1) - byte_begins
        begins += np.repeat(shifts.astype(np.int32), encoded.num_tokens)
        fits = (self._extra == 0) | (self._extra == 1)
        if not fits.all():
            # Documents of other lengths may run past the buffer; they are told apart by their length.
            np.minimum(begins, len(text.data) - HEAD, out=begins)
        self._begins = begins
        self.is_aligned = fits
        """[docs] bool: the pieces are the text, or the text after one space."""
        wrong = np.flatnonzero(~self._same_bytes(lengths))
        self.is_aligned[np.searchsorted(self._doc_ends, wrong, "right")] = False

    def _same_bytes(self, lengths: np.ndarray) -> np.ndarray:
        """[tokens] bool: the piece is what stands at its position."""
        table, ids = self.table, self.encoded.ids
        text = words_of(self.text.data)
        same = ((text[self._begins] ^ table.heads[ids]) & table.masks[ids]) == 0
        longer = np.flatnonzero(lengths > HEAD)
        pieces = words_of(table.data)
        done = HEAD
        while len(longer):
            at = np.minimum(self._begins[longer] + done, len(text) - 1)
            wanted = pieces[table.offsets[ids[longer]] + done]
            same[longer] &= ((text[at] ^ wanted) & masks(lengths[longer] - done)) == 0
            done += HEAD
            longer = longer[lengths[longer] > done]
        return same

    def _aligned_begins(self) -> np.ndarray:
        """[tokens of aligned documents] int32: positions in the text's `data`."""
        if self.is_aligned.all():
            return self._begins
        return self._begins[np.repeat(self.is_aligned, self.encoded.num_tokens)]

    def num_failures(self) -> int:
        """Documents that do not come back as they were."""
        proven = self.is_aligned & (self.text.data[self.text.begins] != ord(" "))
        if self.table.decoding == "joined":
            proven = self.is_aligned & (self._extra == 0)
        elif self.table.decoding is None:
            proven[:] = False
        if self.table.is_added.any():
            added = np.flatnonzero(self.table.is_added[self.encoded.ids])
            proven[np.searchsorted(self._doc_ends, added, "right")] = False
        asked = np.flatnonzero(~proven).tolist()
        decode = self.table.tokenizer.decode
        return sum(
            decode(ids) != self.text.texts[number] for number, ids in zip(asked, self.encoded.docs(asked), strict=True)
        )

    def whole(self, words: Spans) -> tuple[int, int]:
        """Words that are one token (white space around it may belong to it), of how many in aligned documents."""
        starts = np.zeros(len(self.text.data), bool)
        starts[self._aligned_begins()] = True
        starts[self.text.begins[~self.is_aligned]] = True
        starts[-HEAD:] = True
        counts = np.cumsum(starts, dtype=np.int32)
        inside = counts[words.ends - 1] != counts[words.starts]
        before = np.concatenate(([0], counts[words.ends - 1]))
        after = np.concatenate((counts[words.starts], counts[-1:]))
        cut = after > before  # a token begins between two words
        kept = np.repeat(self.is_aligned, words.per_doc)
        return int((~inside & cut[:-1] & cut[1:] & kept).sum()), int(kept.sum())

    def continuing(self, words: Spans) -> tuple[int, int]:
        """Tokens that begin inside a word, of how many in aligned documents."""
        edges = np.zeros(len(self.text.data) + 1, np.int8)
        edges[words.starts + 1] += 1
        edges[words.ends] -= 1
        inside = np.cumsum(edges, dtype=np.int8)
        begins = self._aligned_begins()
        return int(np.count_nonzero(inside[begins])), len(begins)
