"""Auxiliary vectors of tokens, trained on the user's own text in the new tokenizer's encoding, as FOCUS has them.

fastText (Bojanowski et al. 2017) by gensim, CBOW with 10 negatives as in FOCUS's code. A token's "word" is its bytes
in GPT-2's alphabet, whatever the format, so n-grams are of bytes (3 to 6: one or two Thai letters), no two tokens
share a word, and fragments of characters are told apart (FOCUS's decoded text makes them all U+FFFD). One thread,
since the result of several depends on their race: 0.18 million tokens a second (measured).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seatools.streams.errors import SeaError
from seatools.streams.extras import require
from seatools.text.byte_alphabet import spell
from seatools.text.tokenizer import Tokenizer

DIMENSIONS = 100
MIN_COUNT = 5
_BUCKETS = 100_000  # n-gram vectors: 40 MB
_SENTENCE = 10_000  # gensim drops what is beyond
_SEEN, _FEWEST, _MOST = 20_000_000, 3, 30  # tokens to learn from in all, passes over the text


def token_vectors(documents: Sequence[np.ndarray], tokenizer: Tokenizer, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(ids int64 [n] ascending, vectors fp32 [n, DIMENSIONS]) of the tokens that occur at least `MIN_COUNT` times.

    `documents`: token ids of `tokenizer`. Errors: `SeaError` without gensim, or for a text too small to learn from.
    """
    require("gensim")
    from gensim.models import FastText

    num_tokens = sum(map(len, documents))
    words = {int(id): _word(tokenizer, int(id)) for id in np.unique(np.concatenate([*documents, []])).astype(np.int64)}
    ids_of = {word: id for id, word in words.items()}
    model = FastText(
        vector_size=DIMENSIONS, window=5, min_count=MIN_COUNT, sg=0, negative=10, min_n=3, max_n=6, bucket=_BUCKETS,
        seed=seed, workers=1, epochs=max(_FEWEST, min(_MOST, _SEEN // max(num_tokens, 1))),
    )  # fmt: skip
    sentences = _Sentences(documents, words)
    try:
        model.build_vocab(sentences)
        model.train(sentences, total_examples=model.corpus_count, epochs=model.epochs)
    except RuntimeError as error:  # gensim's word for an empty vocabulary
        raise SeaError(
            f"--text: no token occurs {MIN_COUNT} times in its {num_tokens:,} tokens", fix="give more text"
        ) from error
    found = sorted((ids_of[word], position) for word, position in model.wv.key_to_index.items())
    ids = np.array([id for id, _ in found], dtype=np.int64)
    return ids, model.wv.vectors[[position for _, position in found]]


class _Sentences:
    """Read once for the vocabulary and once a pass."""

    def __init__(self, documents: Sequence[np.ndarray], words: dict[int, str]) -> None:
        self.documents, self.words = documents, words

    def __iter__(self):  # type: ignore[no-untyped-def]
        for document in self.documents:
            for start in range(0, len(document), _SENTENCE):
                yield [self.words[id] for id in document[start : start + _SENTENCE].tolist()]


def _word(tokenizer: Tokenizer, id: int) -> str:
    data = tokenizer.piece_bytes(id)
    # Byte-fallback and special tokens stand apart from text of the same bytes: no space is in the alphabet.
    return f" {id}" if id in tokenizer.byte_ids or not data else spell(data)
