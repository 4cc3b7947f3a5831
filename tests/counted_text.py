"""Text counted as `sea vocab-extend` counts it, for the tests that start below the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from seatools.text.tokenizer import Tokenizer, load_tokenizer
from seatools.vocab_extend.corpus import Base, Corpus, Words
from seatools.vocab_extend.extension import ExtendOptions, Extension, extend, open_base

Texts = Mapping[str, Sequence[str]]


def corpus_of(base: Base, train: Texts, protect: Texts | None = None, parallel: Texts | None = None) -> Corpus:
    corpus = Corpus()
    for role, texts in (("train", train), ("protect", protect or {}), ("parallel", parallel or {})):
        for lang, documents in texts.items():
            corpus.count(role, lang, documents, base, workers=1)
    return corpus


def words_of(base: Base, texts: Texts) -> dict[str, Words]:
    corpus = corpus_of(base, texts)
    return {lang: corpus.encoded("train", lang, base) for lang in texts}


def extended(
    tokenizer: Tokenizer, train: Texts, folder: Path, *, protect: Texts | None = None, parallel: Texts | None = None,
    pattern: str | None = None,
    **options: object,
) -> tuple[Tokenizer, Extension]:  # fmt: skip
    chosen = ExtendOptions(**({"add": 12, "min_count": 1, "scripts": None} | options))  # type: ignore[arg-type]
    base = open_base(tokenizer, unigram=chosen.unigram)
    result = extend(tokenizer, base, corpus_of(base, train, protect, parallel), chosen, folder, pattern=pattern)
    return load_tokenizer(folder, pattern=pattern), result
