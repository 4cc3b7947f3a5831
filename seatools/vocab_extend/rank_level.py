"""A rank file (tiktoken's, Mistral's tekken) as continued BPE sees it: bytes, and concatenation decides what joins.

There is no merge list: the neighbours whose concatenation has the lowest rank join first, and a pre-token that has a
rank is emitted whole. New ranks lie above all others, so the base encoding comes first and new tokens only join what it
gives. Pieces are spelled in the byte alphabet here, in base64 in the file.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from seatools.text.agreement import PROBES
from seatools.text.byte_alphabet import spell, unspell
from seatools.text.tiktoken_ranks import TiktokenTokenizer
from seatools.vocab_extend.segments import Segments
from seatools.vocab_extend.word_counts import Law, Splitter


class RankLevelBase:
    """A loaded rank file. `pieces`: id -> bytes in the byte alphabet, grows with the new tokens."""

    law: Law = "coarsens"
    seeds_are_merges = True

    def __init__(self, tokenizer: TiktokenTokenizer) -> None:
        self.tokenizer = tokenizer
        self.first_id = tokenizer.vocab_size
        ranks = {spell(data): id for data, id in tokenizer.ranks.items()}
        self.joins: dict[str, int] | None = ranks
        self.pieces = {id: piece for piece, id in ranks.items()}
        self.taken = set(ranks) | {spell(text.encode()) for text in tokenizer.special_ids}

    def splitter(self, sample: Sequence[str]) -> Splitter:
        """How to cut text into pre-tokens: tiktoken's own pattern, which `regex` reads as its engine does."""
        whole, by_spaces = (
            Splitter(pattern=self.tokenizer.pattern, by_spaces=cut, spells=True) for cut in (False, True)
        )
        one, two = whole.compile(), by_spaces.compile()
        return by_spaces if all(one(text) == two(text) for text in (*PROBES, *sample)) else whole

    def encode_words(self, words: Sequence[str], workers: int = 0) -> Segments:
        """The ids of each word, given in the byte alphabet."""
        encode = self.tokenizer.engine._encode_single_piece  # the only way in without the pattern
        return Segments.of([encode(unspell(word)) for word in words])

    def symbols(self, words: Segments, texts: Sequence[str]) -> Segments:
        """The words as the learner takes them: as they are."""
        return words

    def base_rule(self, left: str, right: str, piece: str) -> bool:
        """Nothing beyond what holds of every base."""
        return True

    def data(self, piece: str) -> bytes:
        """The bytes that a piece stands for."""
        return unspell(piece)

    def spelling(self, data: bytes) -> str | None:
        """The piece that stands for `data`."""
        return spell(data)

    def written(self, piece: str) -> str:
        """The piece as the tokenizer's file has it."""
        return base64.b64encode(unspell(piece)).decode()
