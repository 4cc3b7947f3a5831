"""What must hold of an extended tokenizer, checked with the real engines before anything is kept.

On every distinct word of the text (what no token crosses, so these stand for all of it):
- every new token is emitted, or its own text gives it (a step on the way to longer tokens), `ignore_merges` off;
- with a merge list, expanding the new tokens gives the base encoding, id by id: a theorem (vocab-embed.md 6.1: base
  merges are exhausted first and never see a new symbol), so one exception is a defect. Where concatenation decides
  (SentencePiece, tiktoken) base joins still come first, so the new encoding only joins whole base tokens: its cuts are
  among the base's. That is checked; which tokens a piece joins may differ from place to place and is counted;
- protected words keep their ids;
- a tokenizer.json beside a SentencePiece model (or what transformers makes of the model alone) disagrees with it on at
  most 0.5 % more words than the base's did (they rank equal splits differently on runs of one character). Of more than
  100,000 words in a language every second, third, ... is compared.
On a sample of running text (4 MB of all languages), through the whole engines: the same, and the decoded text.
Cost: one encode of the distinct words with each tokenizer, and of the samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from seatools.streams.errors import CheckFailed
from seatools.text.reachability import made_by_model
from seatools.text.tokenizer import Tokenizer
from seatools.vocab_extend.batches import batches
from seatools.vocab_extend.corpus import Base, Words
from seatools.vocab_extend.new_token import NewToken
from seatools.vocab_extend.segments import Expansion, Segments
from seatools.vocab_extend.word_counts import Law

MAX_DISAGREEMENT = 0.005
RUNNING_BYTES = 4 << 20  # two encodes at 1 to 3 MB/s a core; every word is checked, so this is for the cuts between
_COMPARED = 100_000  # words a language that both engines encode: 2 MB/s for tokenizers on long words


@dataclass
class Compression:
    """One language before and after, in tokens of its whole text."""

    num_docs: int = 0
    num_bytes: int = 0
    base_tokens: int = 0
    base_unk: int = 0
    new_tokens: int = 0


@dataclass
class Proof:
    """What was found."""

    languages: dict[str, Compression] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    """New token -> occurrences in the training text."""
    unreachable: list[NewToken] = field(default_factory=list)
    num_words: int = 0
    """Distinct words checked."""
    other_expansion: int = 0
    """Words that are cut at the base's cuts but whose pieces expand to other base tokens (no merge list)."""
    num_compared: int = 0
    """Distinct words that both engines of a folder encoded."""
    base_disagreements: int = 0
    disagreements: int = 0
    """Words that sentencepiece and tokenizer.json encode differently, before and after."""
    protected_drift: dict[str, float] = field(default_factory=dict)
    """Language -> share of its protected words that change (Unigram only; else none do)."""
    num_running: int = 0
    """Documents of running text checked."""


def prove_words(
    base: Base,
    extended: Base,
    tokens: Sequence[NewToken],
    training: Mapping[str, Words],
    protected: Mapping[str, Words],
    *,
    max_drift: float = 0.0,
    workers: int = 0,
) -> Proof:
    """Check the distinct words. Raises CheckFailed; unreachable tokens are returned.

    `max_drift`: share of the protected words that may change where nothing can be promised (Unigram).
    """
    proof = Proof()
    _check_written(base.tokenizer, extended.tokenizer, tokens)
    expansion = Expansion({token.id: token.base_ids for token in tokens})
    size = max(token.id for token in tokens) + 1
    counts = np.zeros(size, np.int64)
    bare = extended.without_whole_words() if hasattr(extended, "without_whole_words") else extended
    for lang, words in training.items():
        new = extended.encode_words(words.texts, workers)
        row = proof.languages.setdefault(lang, Compression())
        row.base_tokens, row.new_tokens = _total(words.ids, words.counts), _total(new, words.counts)
        unk_id = base.tokenizer.unk_id
        if unk_id is not None:
            row.base_unk = int(np.repeat(words.counts, words.ids.lengths)[words.ids.ids == unk_id].sum())
        proof.num_words += len(words.texts)
        if base.law == "expands":
            _check_expansion(words, new, expansion, unk_id)
        elif base.law == "coarsens":
            proof.other_expansion += _check_coarsening(base, extended, words, new, expansion)
        emitted = new if bare is extended else bare.encode_words(words.texts, workers)
        weights = np.repeat(words.counts, emitted.lengths)
        inside = emitted.ids < size
        counts += np.bincount(emitted.ids[inside], weights[inside], size).astype(np.int64)
        step = -(-len(words.texts) // _COMPARED)
        texts = words.texts[::step] if step else []
        proof.num_compared += len(texts)
        proof.base_disagreements += _disagreements(base, texts, words.ids.every(step), workers)
        proof.disagreements += _disagreements(extended, texts, new.every(step), workers)
    proof.counts = {token.id: int(counts[token.id]) for token in tokens}
    for lang, words in protected.items():
        new = extended.encode_words(words.texts, workers)
        if np.array_equal(new.ids, words.ids.ids):
            continue
        changed = _changed(words.ids, new)
        if base.law != "measured":
            text = words.texts[int(np.argmax(changed))]
            raise _defect(f"the protected word ({lang}) {_shown(text)} is encoded otherwise")
        share = float(words.counts[changed].sum() / max(1, words.counts.sum()))
        proof.protected_drift[lang] = share
        if share > max_drift:
            raise CheckFailed(
                f"{share:.2%} of the words of {lang} are encoded otherwise, over {max_drift:.2%}",
                fix="fewer tokens, or a larger --max-drift",
            )
    unseen = [token for token in tokens if not proof.counts[token.id]]
    made = made_by_model(extended.tokenizer, [token.id for token in unseen]) if unseen else set()
    proof.unreachable = [token for token in unseen if token.id not in made]
    if proof.disagreements - proof.base_disagreements > MAX_DISAGREEMENT * proof.num_compared:
        raise CheckFailed(
            f"sentencepiece and tokenizer.json differ on {proof.disagreements} of {proof.num_compared} words "
            f"(the base's: {proof.base_disagreements})",
            fix="give a folder with one of the two files",
        )
    return proof


def prove_running(
    base: Tokenizer,
    extended: Tokenizer,
    tokens: Sequence[NewToken],
    samples: Mapping[str, Sequence[str]],
    protected: Mapping[str, Sequence[str]],
    proof: Proof,
    *,
    law: Law,
    workers: int = 0,
) -> None:
    """Check running text through the whole engines; `samples`, `protected`: language -> documents."""
    expansion = Expansion({token.id: token.base_ids for token in tokens})
    for documents in samples.values():
        for batch in batches(_evenly(documents, RUNNING_BYTES // len(samples))):
            old, new = base.encode_batch(batch, workers=workers), extended.encode_batch(batch, workers=workers)
            proof.num_running += len(batch)
            for text, old_ids, new_ids in zip(batch, old, new, strict=True):
                if base.unk_id is not None and base.unk_id in old_ids:
                    continue  # a new character mends it
                expanded = expansion(np.array(new_ids, np.int32))
                if law == "expands" and expanded.tolist() != old_ids:
                    raise _defect(f"the new encoding of {_shown(text)} does not expand to the base encoding")
                if base.decode(old_ids) != extended.decode(new_ids):
                    raise _defect(f"{_shown(text)} does not decode as it did")
    for lang, documents in protected.items() if law != "measured" else ():
        for batch in batches(_evenly(documents, RUNNING_BYTES // len(protected))):
            old, new = base.encode_batch(batch, workers=workers), extended.encode_batch(batch, workers=workers)
            for text, old_ids, new_ids in zip(batch, old, new, strict=True):
                if old_ids != new_ids:
                    raise _defect(f"protected text ({lang}) is encoded otherwise: {_shown(text)}")


def _evenly(documents: Sequence[str], size: int) -> Sequence[str]:
    """Every n-th document, so that they come to about `size` bytes."""
    return documents[:: max(1, -(-sum(len(text.encode()) for text in documents) // size))]


def _check_written(base: Tokenizer, extended: Tokenizer, tokens: Sequence[NewToken]) -> None:
    for token in tokens:
        written = extended.piece(token.id)
        if written != token.piece:
            raise _defect(f"the written tokenizer has {written!r} at id {token.id}, not {token.piece!r}")
    if not base.special_ids.items() <= extended.special_ids.items():
        raise _defect("a special token has lost its id")


def _total(words: Segments, counts: np.ndarray) -> int:
    return int((words.lengths * counts).sum())


def _check_expansion(words: Words, new: Segments, expansion: Expansion, unk_id: int | None) -> None:
    expanded = expansion(new.ids)
    if np.array_equal(expanded, words.ids.ids):
        return
    # Neighbouring UNKs count as one (engines write one for a run of unknown characters), so words with one are looked
    # at alone.
    for number in range(len(words.texts)):
        old, now = words.ids.word(number), expansion(np.array(new.word(number), np.int32)).tolist()
        if unk_id is not None and unk_id in old:
            old, now = tuple(_one_unk(old, unk_id)), _one_unk(now, unk_id)
        if tuple(now) != tuple(old):
            raise _defect(f"the new encoding of {_shown(words.texts[number])} does not expand to the base encoding")


def _one_unk(ids: Sequence[int], unk_id: int) -> list[int]:
    return [id for at, id in enumerate(ids) if id != unk_id or at == 0 or ids[at - 1] != unk_id]


def _check_coarsening(base: Base, extended: Base, words: Words, new: Segments, expansion: Expansion) -> int:
    """CheckFailed for a word cut where the base does not cut; the number of words that expand otherwise."""
    unk_id = base.tokenizer.unk_id
    known = np.ones(len(words.texts), bool)
    if unk_id is not None:
        known[np.unique(words.ids.owners()[words.ids.ids == unk_id])] = False
    old_cuts, old_word = _cuts(base, words.ids, known)
    new_cuts, new_word = _cuts(extended, new, known)
    at = np.minimum(np.searchsorted(old_cuts, new_cuts), max(0, len(old_cuts) - 1))
    foreign = old_cuts[at] != new_cuts if len(old_cuts) else np.ones(len(new_cuts), bool)
    if foreign.any():
        text = words.texts[int(new_word[int(np.argmax(foreign))])]
        raise _defect(f"{_shown(text)} is cut inside a token of the base")
    return int((_changed(words.ids, expansion.words(new)) & known).sum())


def _cuts(base: Base, words: Segments, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where tokens end, in bytes from the first of the known words on, and the word of each."""
    size = base.tokenizer.vocab_size
    lengths = np.zeros(size, np.int64)
    for id in np.unique(words.ids).tolist():
        lengths[id] = len(base.tokenizer.piece_bytes(id))
    owners = words.owners()
    kept = known[owners]
    return np.cumsum(lengths[words.ids[kept]]), owners[kept]


def _disagreements(base: Base, texts: Sequence[str], ids: Segments, workers: int) -> int:
    beside = getattr(base, "beside", None)
    if beside is None:
        return 0
    other = beside.encode_words(texts, workers)
    if np.array_equal(other.ids, ids.ids):
        return 0
    return int(_changed(ids, other).sum())


def _changed(one: Segments, two: Segments) -> np.ndarray:
    """[words] bool: whether the two have other ids for it."""
    changed = one.lengths != two.lengths
    same = ~changed
    left, right = one.ids[np.repeat(same, one.lengths)], two.ids[np.repeat(same, two.lengths)]
    owners = np.repeat(np.flatnonzero(same), one.lengths[same])
    changed[owners[left != right]] = True
    return changed


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")


def _defect(what: str) -> CheckFailed:
    return CheckFailed(what, fix="nothing was written; this is a defect of sea or of the base: please report it")
