"""How often each word of a text occurs, a word being what no token crosses; partial counts add up.

Counting sees each distinct word once afterwards, so only this step grows with the text. A base's regular expression is
run by the `regex` package (14 to 65 MB/s here against 3 to 5 for `pre_tokenize_str` of tokenizers), and only on
distinct pieces between spaces where no match reaches across one (`str.split` and counting: 50 to 270 MB/s), provided
that both cut a sample of the text as the base does; else the engine's own pre-tokenizer is used. Batches go
to worker processes from 16 MB of text on. Memory: the distinct words, 100 bytes and their letters each, never the text;
beyond `max_words` of them the rarest are dropped (lossy counting, Manku and Motwani 2002) and their occurrences told.
Unspaced scripts need that: of 60 MB of Thai phrases 11 MB were distinct (259,783 words).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Literal

from seatools.streams.cores import available_cores
from seatools.streams.worker_pool import WorkerPool
from seatools.text.byte_alphabet import spell
from seatools.text.sentencepiece_model import AddedSplitter
from seatools.text.special_tokens import AddedToken

_POOL_FROM = 1 << 24  # bytes: a worker takes 0.4 s to start, in which one core counts 8 to 20 MB
_BATCH = 1 << 22  # characters
MAX_WORDS = 8_000_000
# Two spaces, or one with white space on both sides or twice before it: \s+(?!\S) and \s+$ see the run, so no cut may go
# through it.
# Written to begin with the space, which re looks for ten times faster than for \s (150 MB/s and more).
_IN_SPACE = re.compile(r" (?: |(?<=\s )(?:\s|\Z)|(?<=\s\s ))")

Law = Literal["expands", "coarsens", "measured"]
"""What holds of an extended encoding: it expands to the base's id by id (a merge list); it only joins whole tokens of
the base's (concatenation decides); nothing, so it is measured (Unigram)."""


@dataclass(frozen=True, slots=True)
class Splitter:
    """How a base cuts text into words; small and picklable, for the workers."""

    pattern: str | None = None
    """A regular expression whose matches are the words (all of the text); None: `engine_json` decides."""
    by_spaces: bool = False
    """Whether text may first be cut before each space, unless one stands in a run of white space (_IN_SPACE)."""
    normalizer: str | None = None
    """None, "NFC", or "engine" for the normaliser in `engine_json`."""
    prefix: str = ""
    """Put before a text that does not begin with white space (add_prefix_space), or before any (dummy prefix)."""
    spells: bool = False
    """Whether words are then spelled in the byte alphabet."""
    engine_json: str | None = None
    """A tokenizer.json with this normaliser and pre-tokenizer (and an empty model)."""
    sentencepiece: bytes | None = None
    """A serialised model whose normaliser is applied first."""
    added: tuple[AddedToken, ...] = ()
    """Tokens that are looked for before the text is cut: each is a word, and no word crosses it."""

    def compile(self) -> Cutter:
        """The splitter at work."""
        return Cutter(self)


@dataclass
class WordCounts:
    """The words of one language. Adding two of them is counting both texts."""

    counts: Counter[str] = field(default_factory=Counter)
    num_docs: int = 0
    num_bytes: int = 0
    docs: Counter[str] = field(default_factory=Counter)
    """Word -> documents that hold it; kept for protected text only."""
    only: dict[str, str] = field(default_factory=dict)
    """Word -> the name of the one document that holds it, where it is one; for protected text only."""
    dropped: int = 0
    """Occurrences of words that were dropped to bound memory."""

    def add(self, other: WordCounts) -> None:
        """Count the other's text too."""
        self.counts.update(other.counts)
        self.num_docs += other.num_docs
        self.num_bytes += other.num_bytes
        self.dropped += other.dropped
        for word, docs in other.docs.items():
            if self.docs[word] or docs > 1:
                self.only.pop(word, None)
            else:
                self.only[word] = other.only[word]
            self.docs[word] += docs


def count_words(
    texts: Iterable[str],
    splitter: Splitter,
    *,
    by_document: bool = False,
    name: str = "",
    max_words: int = MAX_WORDS,
    workers: int = 1,
) -> WordCounts:
    """Count the words of `texts`, on `workers` cores (0: all; more than one needs a `__main__` that can be imported).

    `by_document`: fill `docs` and `only` too, and drop nothing. `name`: put before the number of a document, so that
    those of several shards differ.
    """
    total = WordCounts()
    cutter = splitter.compile()
    batches = _batches(texts, total)
    if by_document:
        _count_documents(batches, cutter, total, name)
        return _spelled(total) if splitter.spells else total
    workers = workers or available_cores()
    found = Tally()
    for batch in batches:
        cutter.count(batch, found)
        total.dropped += found.bound(max_words)
        if total.num_bytes >= _POOL_FROM and workers > 1:
            break
    for part in _counted_by_workers(batches, splitter, workers):
        found.add(part)
        total.dropped += found.bound(max_words)
    total.counts = cutter.refined(found)
    return _spelled(total) if splitter.spells else total


@dataclass
class Tally:
    """Counts on the way: finished words, and pieces that stood behind a space and are not cut yet."""

    words: Counter[str] = field(default_factory=Counter)
    behind_space: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count the other's text too."""
        self.words.update(other.words)
        self.behind_space.update(other.behind_space)

    def bound(self, max_words: int) -> int:
        """Drop the rarest beyond `max_words`; how many occurrences went."""
        before = self.words.total() + self.behind_space.total() if max(map(len, self._both())) > max_words else 0
        if before:
            self.words, self.behind_space = (_bounded(counts, max_words) for counts in self._both())
            return before - self.words.total() - self.behind_space.total()
        return 0

    def _both(self) -> tuple[Counter[str], Counter[str]]:
        return self.words, self.behind_space


class Cutter:
    """A compiled splitter."""

    def __init__(self, splitter: Splitter) -> None:
        self._normalize = _normalizer(splitter)
        self._prefix, self._by_spaces = splitter.prefix, splitter.by_spaces
        self._find = _finder(splitter)
        # As tokenizers does: some added tokens are looked for in the text as it is, the others in what is normalised.
        self._in_text = AddedSplitter([token for token in splitter.added if not token.normalized])
        normalized = [token for token in splitter.added if token.normalized]
        self._in_normalized = AddedSplitter(
            [replace(token, content=self._normalize(token.content)) for token in normalized]
        )
        self._added = {
            token.id: token.content if splitter.spells else spell(token.content.encode()) for token in splitter.added
        }

    def __call__(self, text: str) -> list[str]:
        """The words of a text, in order."""
        words: list[str] = []
        for part in self._parts(text):
            if isinstance(part, int):
                words.append(self._added[part])
            elif not self._by_spaces or _IN_SPACE.search(part):
                words += self._find(part)
            else:
                first, *others = part.split(" ")
                words += self._find(first) + [word for piece in others for word in self._find(" " + piece)]
        return words

    def _parts(self, text: str) -> Iterator[str | int]:
        """Added tokens, and the text between them as the regular expression sees it."""
        for part in self._in_text.split(text):
            if isinstance(part, int):
                yield part
                continue
            for inner in self._in_normalized.split(self._normalize(part)):
                prefixed = isinstance(inner, str) and self._prefix and not inner[:1].isspace()
                yield f"{self._prefix}{inner}" if prefixed else inner

    def count(self, texts: Sequence[str], found: Tally) -> None:
        """Count the words of `texts`, as far as need be."""
        for text in texts:
            for part in self._parts(text):
                if isinstance(part, int):
                    found.words[self._added[part]] += 1
                elif not self._by_spaces or _IN_SPACE.search(part):
                    found.words.update(self._find(part))
                else:
                    first, *others = part.split(" ")
                    found.words.update(self._find(first))
                    found.behind_space.update(others)

    def refined(self, found: Tally) -> Counter[str]:
        """Finished words only."""
        counts = found.words
        for piece, count in found.behind_space.items():
            for word in self._find(" " + piece):
                counts[word] += count
        return counts


def _count_documents(batches: Iterable[list[str]], cutter: Cutter, total: WordCounts, name: str) -> None:
    number = 0
    for batch in batches:
        for text in batch:
            words = Counter(cutter(text))
            total.counts.update(words)
            for word in words:
                if total.docs[word]:
                    total.only.pop(word, None)
                else:
                    total.only[word] = f"{name}{number}"
                total.docs[word] += 1
            number += 1


def _bounded(counts: Counter[str], max_words: int) -> Counter[str]:
    """`counts`; if they are more than `max_words`, without the rarest, so that no more than half of that are left."""
    least, limit = 1, max_words
    while len(counts) > limit:
        limit = max_words // 2
        kept = Counter({word: count for word, count in counts.items() if count > least})
        if not kept:
            break
        counts = kept
        least += 1
    return counts


def _spelled(words: WordCounts) -> WordCounts:
    spelled = {word: spell(word.encode()) for word in words.counts}
    return WordCounts(
        Counter({spelled[word]: count for word, count in words.counts.items()}),
        words.num_docs,
        words.num_bytes,
        Counter({spelled[word]: docs for word, docs in words.docs.items()}),
        {spelled[word]: doc for word, doc in words.only.items()},
        words.dropped,
    )


def _batches(texts: Iterable[str], total: WordCounts) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        total.num_docs += 1
        total.num_bytes += len(text.encode())
        batch.append(text)
        size += len(text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


_worker_cutter: Cutter


def _start_worker(splitter: Splitter) -> None:
    global _worker_cutter
    _worker_cutter = splitter.compile()


def _work(batch: list[str]) -> Tally:
    found = Tally()
    _worker_cutter.count(batch, found)
    return found


def _counted_by_workers(batches: Iterator[list[str]], splitter: Splitter, workers: int) -> Iterator[Tally]:
    first = next(batches, None)
    if first is None:
        return
    with WorkerPool(workers, _start_worker, (splitter,)) as pool:
        waiting: list[Future[Tally]] = [pool.submit(_work, first)]
        for batch in batches:
            waiting.append(pool.submit(_work, batch))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _finder(splitter: Splitter) -> Callable[[str], list[str]]:
    if splitter.pattern is None:
        import tokenizers

        assert splitter.engine_json is not None
        split = tokenizers.Tokenizer.from_str(splitter.engine_json).pre_tokenizer.pre_tokenize_str
        return lambda text: [piece for piece, _ in split(text)]
    import regex

    find: Callable[[str], list[str]] = regex.compile(splitter.pattern).findall
    return find


def _normalizer(splitter: Splitter) -> Callable[[str], str]:
    if splitter.sentencepiece is not None:
        from sentencepiece import SentencePieceProcessor

        engine = SentencePieceProcessor()
        engine.LoadFromSerializedProto(splitter.sentencepiece)
        normalize: Callable[[str], str] = engine.Normalize
        return normalize
    if splitter.normalizer is None:
        return str
    if splitter.normalizer == "NFC":
        from unicodedata import normalize as to_form

        return lambda text: to_form("NFC", text)
    import tokenizers

    assert splitter.engine_json is not None
    normalizer = tokenizers.Tokenizer.from_str(splitter.engine_json).normalizer
    as_engine: Callable[[str], str] = normalizer.normalize_str
    return as_engine
