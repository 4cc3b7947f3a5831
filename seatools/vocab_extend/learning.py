"""From counted words to new tokens: characters first, then merges, each for the language whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seatools.streams.errors import UsageError
from seatools.streams.progress import Progress
from seatools.vocab_extend.budget import Allotment, Balance, Target
from seatools.vocab_extend.character_seed import SeedMerges, wanted_characters
from seatools.vocab_extend.continued_bpe import MAX_STREAMS, ContinuedBpe, Merge, count_tokens
from seatools.vocab_extend.corpus import Base, Words, char_counts
from seatools.vocab_extend.guard import Guard, ProtectedPairs
from seatools.vocab_extend.new_token import NewToken, Origin, joined_base_ids
from seatools.vocab_extend.segments import Segments, known_char, unknown


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How many tokens for whom."""

    add: int
    min_count: int
    balance: Balance
    weights: Mapping[str, float]
    targets: tuple[Target, ...] = ()


class Pool(Protocol):
    """The pieces that a method wants (`pools.py`)."""

    chars: Collection[str] | None
    """The characters that may become tokens; None: any."""

    def wanted(
        self, words: Segments, counts: np.ndarray, streams: np.ndarray, pieces: Mapping[int, str], budget: int
    ) -> Collection[str]: ...
    def origin(self, piece: str) -> Origin: ...


@dataclass
class Learned:
    """The outcome of learning."""

    tokens: list[NewToken]
    spent: dict[str, int]
    """Language -> tokens made for it."""
    reached: dict[str, bool]
    """Language -> whether it met every target; empty without targets."""
    exhausted: list[str]
    """Languages without another pair that may be merged and occurs often enough."""


def learn_tokens(
    base: Base,
    training: Mapping[str, Words],
    num_bytes: Mapping[str, int],
    wish: Wish,
    guard: Guard,
    *,
    parallel: Mapping[str, Words] | None = None,
    parallel_bytes: Mapping[str, int] | None = None,
    reference: str | None = None,
    pool: Pool | None = None,
    quiet: bool = True,
) -> Learned:
    """New tokens with ids from `base.first_id` on, in the order of their ranks. They are added to `base`.

    `num_bytes`: language -> UTF-8 bytes of its text. `pool`: which pieces a method wants, asked with the words as they
    are then; None: any. It is asked again when its pieces are made, until it has no more that can be.
    """
    parallel = parallel or {}
    langs = list(training)
    every = [*training.values(), *parallel.values()]
    sizes = [*(num_bytes[lang] for lang in langs), *((parallel_bytes or {})[lang] for lang in parallel)]
    owners = np.repeat(np.arange(len(every)), [len(words.texts) for words in every])
    counts = np.concatenate([words.counts for words in every])
    symbols = Segments.joined([words.symbols for words in every])
    base_tokens = count_tokens(symbols, counts, owners, len(every))
    if wish.balance == "text":
        owners, num_streams, num_training = np.where(owners < len(langs), 0, 1), 2, 1
    else:
        num_streams, num_training = len(every), len(langs)
    if num_streams > MAX_STREAMS:
        raise UsageError(
            f"{num_streams} languages and parallel texts: at most {MAX_STREAMS} can be told apart",
            fix="--balance text counts all as one, or give fewer labels",
        )

    per_lang = [char_counts(words, base) for words in training.values()]
    wanted = [found for lang, found in zip(langs, per_lang, strict=True) if wish.weights.get(lang, 1.0)]
    total = sum(wanted, Counter[str]())
    # Of other scripts too, they would change text that nobody named: two quoted Tamil words in the Vietnamese Wikipedia
    # gave two tokens, which changed 99.8 % of the Tamil lines of FLORES on Qwen2.
    chars = [
        char
        for char in wanted_characters(total, wish.min_count)
        if guard.text_allowed(data := char.encode()) and len(data) <= guard.max_bytes
    ]
    if pool is not None and pool.chars is not None:
        chars = [char for char in chars if char in pool.chars]
    tokens: list[NewToken] = []
    if not base.seeds_are_merges:
        chars = [c for c in chars if c not in base.taken and unknown(c) not in guard.protected.chars][: wish.add]
        tokens = _appended(base, chars)
        symbols = _with_chars(symbols, {token.piece: token.id for token in tokens})

    def new_learner(symbols: Segments, counts: np.ndarray, owners: np.ndarray) -> ContinuedBpe:
        return ContinuedBpe(
            symbols,
            counts,
            base.pieces,
            base.taken | {base.pieces[token.id] for token in tokens},
            first_id=base.first_id + len(tokens),
            may_merge=guard.is_wanted,
            is_free=guard.is_free,
            min_count=wish.min_count,
            joins=None if base.joins is None else base.joins | {base.pieces[t.id]: t.id for t in tokens},
            streams=owners,
            num_streams=num_streams,
            num_training=num_training,
        )

    learner = new_learner(symbols, counts, owners)
    allotment = Allotment(
        langs if wish.balance != "text" else [""],
        "weights" if wish.balance == "text" else wish.balance,
        np.array(sizes),
        base_tokens,
        {} if wish.balance == "text" else wish.weights,
        wish.targets,
        {lang: len(langs) + number for number, lang in enumerate(parallel)},
        None if reference is None else len(langs) + list(parallel).index(reference),
    )
    if base.seeds_are_merges:
        made = _make_seeds(learner, _plan_seeds(base, chars, wish.add, guard.protected))
        for merge in made:
            _add(base, tokens, merge, "char")
        allotment.charge([merge.stream for merge in made])
    elif wish.balance != "text":
        allotment.charge([max(range(len(langs)), key=lambda n: (per_lang[n][char], -n)) for char in chars])
    last: dict[int, int] = {}
    while len(tokens) < wish.add:
        if pool is not None:
            words, sizes_of, streams = learner.words()
            guard.only = pool.wanted(words, sizes_of, streams, base.pieces, wish.add - len(tokens))
            totals, learner = learner.num_tokens, new_learner(words, sizes_of, streams)
            learner.num_tokens = totals
            allotment.exhausted.clear()
        made_before = len(tokens)
        with Progress("merges", total=wish.add - len(tokens), unit="tokens", quiet=quiet) as progress:
            while len(tokens) < wish.add and (number := allotment.next(learner.num_tokens)) is not None:
                step = learner.step(number)
                if step is None:
                    allotment.exhausted.add(number)
                    continue
                _add(base, tokens, step, "merge" if pool is None else pool.origin(step.piece))
                last[number] = step.count
                allotment.charge([number])
                progress.advance()
        if pool is None or len(tokens) == made_before:
            break
    guard.settle({number: count for number, count in last.items() if number not in allotment.exhausted}, wish.min_count)
    now = learner.num_tokens
    named = langs if wish.balance != "text" else []
    return Learned(
        tokens,
        dict(zip(named, allotment.spent.tolist(), strict=True)) if named else {},
        {lang: allotment.reached(at, now) for at, lang in enumerate(named)} if wish.targets else {},
        [langs[at] for at in sorted(allotment.exhausted)] if named else [],
    )


def _appended(base: Base, chars: list[str]) -> list[NewToken]:
    """A token for each character, appended to a base that spells it in bytes or not at all."""
    spelled = base.spelled  # type: ignore[attr-defined]
    tokens = [
        NewToken(id, char, char.encode(), "char", None, spelled(char)) for id, char in enumerate(chars, base.first_id)
    ]
    for token in tokens:
        base.pieces[token.id] = token.piece
        base.taken.add(token.piece)
        if base.joins is not None:
            base.joins[token.piece] = token.id
    return tokens


def _with_chars(words: Segments, ids: Mapping[str, int]) -> Segments:
    """`words` with the characters that have a token now."""
    odd = words.ids < -1
    if not odd.any() or not ids:
        return words
    symbols, inverse = np.unique(words.ids[odd], return_inverse=True)
    renamed = np.array([ids.get(known_char(symbol), symbol) for symbol in symbols.tolist()], np.int32)
    replaced = words.ids.copy()
    replaced[odd] = renamed[inverse]
    return Segments(replaced, words.offsets)


def _plan_seeds(base: Base, chars: list[str], budget: int, protected: ProtectedPairs) -> list[tuple[int, int]]:
    """Pairs of tokens (a number from `first_id` on is an earlier pair of the list) that make the characters."""
    seeds = SeedMerges(base.first_id, budget, dict(base.pieces), base.taken, lambda *pair: pair not in protected)
    spelled = [base.spelling(char.encode()) or "" for char in chars]
    found = base.encode_words(spelled)
    for number in range(len(chars)):
        seeds.make(found.word(number))
    return list(seeds.pairs)


def _make_seeds(learner: ContinuedBpe, planned: list[tuple[int, int]]) -> list[Merge]:
    """Make the planned pairs in order; running text may cut a character otherwise, and what never fires is left out."""
    made: list[Merge] = []
    names: dict[int, int] = {}
    first = learner.first_id
    for number, pair in enumerate(planned):
        if any(part >= first and part not in names for part in pair):
            continue
        left, right = (names.get(part, part) for part in pair)
        merge = learner.force(left, right)
        if merge is not None:
            names[first + number] = merge.token
            made.append(merge)
    return made


def _add(base: Base, tokens: list[NewToken], merge: Merge, origin: Origin) -> None:
    """Append the merge's token to `tokens`, which are all that were made before."""
    parents = (merge.left, merge.right)
    base_ids = joined_base_ids(parents, tokens, base.first_id)
    tokens.append(NewToken(merge.token, base.written(merge.piece), base.data(merge.piece), origin, parents, base_ids))
