"""`sea vocab-extend` from Python: a base tokenizer and counted text in, a folder with the extended tokenizer out.

Merges are ranked after all of the base's, so the base encoding comes first and the new tokens only join what it gives.
A token that later merges always swallow is kept when they are built on it. Memory: the distinct words (150 to 250 bytes
each while all of it runs) and a sample of the text; the text itself is never held.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from seatools.streams.errors import CheckFailed, SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.streams.records import dump
from seatools.streams.stage import stage
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.scripts import scripts_of_language
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.special_tokens import TokenConfig
from seatools.text.tiktoken_ranks import TiktokenTokenizer
from seatools.text.tokenizer import Tokenizer, load_tokenizer
from seatools.vocab_extend.budget import BALANCES, Balance, Target
from seatools.vocab_extend.byte_level import ByteLevelBase
from seatools.vocab_extend.char_level import CharLevelBase
from seatools.vocab_extend.corpus import Base, Corpus, Words
from seatools.vocab_extend.guard import Guard, ProtectedPairs
from seatools.vocab_extend.learning import Learned, Pool, Wish, learn_tokens
from seatools.vocab_extend.new_token import NewToken
from seatools.vocab_extend.proof import Proof, prove_running, prove_words
from seatools.vocab_extend.rank_level import RankLevelBase
from seatools.vocab_extend.tokenizer_files import write_extended

METHODS = ("continue", "donor", "merge")
NEW_TOKENS = "new_tokens.jsonl"
NO_LIMIT = 1 << 20
_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class ExtendOptions:
    """How to extend."""

    add: int = NO_LIMIT
    """New tokens wanted at most, characters included."""
    method: str = "continue"
    balance: Balance = "weights"
    weights: dict[str, float] = field(default_factory=dict)
    """Language -> share; 1 for those not named."""
    until: tuple[Target, ...] = ()
    reference: str | None = None
    """The language of the parallel text that parities are over."""
    min_count: int = 2
    """A character or pair seen less often than this makes no token."""
    max_bytes: int = 48
    """Longest new token, in bytes of text: 16 Thai letters."""
    scripts: tuple[str, ...] | None = ()
    """Writing systems of the new tokens; (): those of the languages' labels; None: any."""
    partial_characters: bool = False
    """Whether a token may end inside a character."""
    pretokenizer: str = "keep"
    donor: str | None = None
    """The donor tokenizer's path (method donor)."""
    prune: str = "frequency"
    trained_size: int = 25_000
    """Vocabulary trained for each language (method merge)."""
    reuse_unreachable: bool = False
    unigram: bool = False
    max_drift: float = 0.01
    """Share of the protected words that may change where nothing can be promised (Unigram)."""
    pad_to_multiple: int = 1
    seed: int = 0
    """For the manifest; nothing here is drawn."""

    def __post_init__(self) -> None:
        for value, name, known in (
            (self.method, "method", METHODS),
            (self.balance, "balance", BALANCES),
            (self.pretokenizer, "pretokenizer", ("keep", "marks")),
            (self.prune, "prune", ("frequency", "tfidf")),
        ):
            if value not in known:
                raise UsageError(f'no {name} "{value}"', fix=f"--{name} {' or '.join(known)}")
        for name in ("add", "min_count", "max_bytes", "trained_size", "pad_to_multiple"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}", fix="give 1 or more")
        if (self.donor is None) == (self.method == "donor"):
            if self.donor is None:
                raise UsageError("--method donor takes tokens of another tokenizer", fix="--donor TOKENIZER")
            raise UsageError(f"--donor is of --method donor, not of {self.method}", fix="--method donor")
        if not 0 <= self.max_drift <= 1:
            raise UsageError(f"--max-drift is {self.max_drift}", fix="give a share between 0 and 1")
        if any(not 0 <= weight < float("inf") for weight in self.weights.values()):
            raise UsageError("a weight is negative or no number", fix="--weights th=2,lo=1")
        if self.needs_parity and self.reference is None:
            raise UsageError(
                "parity needs parallel text and its reference language",
                fix="--parallel th=FILE --parallel en=FILE --reference en",
            )
        if self.balance == "text" and (self.weights or self.until):
            raise UsageError("--balance text looks at no language", fix="leave out --weights and --until, or --balance")

    @property
    def needs_parity(self) -> bool:
        """Whether tokens are shared or stopped by parity."""
        return self.balance == "parity" or any(target.metric == "parity" for target in self.until)


@dataclass
class Extension:
    """What came out."""

    before: Tokenizer
    """The base, with its new pre-tokenizer if it gets one."""
    extended: Tokenizer
    tokens: list[NewToken]
    learned: Learned
    proof: Proof
    dropped: list[NewToken]
    """Tokens that could not be reached and were taken out (only where concatenation decides)."""
    protected: dict[str, Words]
    """The protected words."""
    refused: list[tuple[int, int]]
    """Protected pairs that would have been merged."""
    vocab_size: int
    rows: int
    """`vocab_size` brought to `pad_to_multiple`."""


def open_base(tokenizer: Tokenizer, *, unigram: bool = False) -> Base:
    """The base as continued BPE sees it; SeaError for a kind that cannot be extended."""
    if isinstance(tokenizer, TiktokenTokenizer):
        return RankLevelBase(tokenizer)
    if isinstance(tokenizer, SentencePieceTokenizer | JsonTokenizer):
        if tokenizer.kind in ("sentencepiece-unigram", "json-unigram"):
            if not unigram:
                raise SeaError(
                    f"{tokenizer.path} is a {tokenizer.kind} tokenizer: every new piece may change any encoding",
                    fix="--unigram appends pieces and measures what changes (--max-drift)",
                )
            return CharLevelBase(tokenizer)
        if unigram:
            raise UsageError(f"--unigram: {tokenizer.path} is a {tokenizer.kind} tokenizer", fix="leave --unigram out")
        if isinstance(tokenizer, SentencePieceTokenizer):
            return CharLevelBase(tokenizer)
        if tokenizer.byte_level and tokenizer.engine.decoder is None:
            raise SeaError(
                f"{tokenizer.path} has no decoder, so nothing says how its tokens become text",
                fix='put "decoder": {"type": "ByteLevel"} into tokenizer.json',
            )
        if tokenizer.byte_level and tokenizer.engine.pre_tokenizer is not None:
            return ByteLevelBase(tokenizer)
        if tokenizer.byte_ids:
            return CharLevelBase(tokenizer)
    raise SeaError(
        f"{tokenizer.path} is a {tokenizer.kind} tokenizer, which vocab-extend cannot extend",
        fix="supported: SentencePiece BPE, byte-level and byte-fallback BPE (tokenizer.json), tiktoken, tekken",
    )


def with_pre_tokenizer(tokenizer: Tokenizer, section: dict[str, Any]) -> JsonTokenizer:
    """The tokenizer with another pre-tokenizer."""
    assert isinstance(tokenizer, JsonTokenizer)
    parsed = {**tokenizer.json_model, "pre_tokenizer": section}
    return JsonTokenizer(
        tokenizer.path, parsed, TokenConfig(), files=tokenizer.files, where=tokenizer.files[0], kind=tokenizer.kind
    )


def make_guard(base: Base, langs: list[str], protected: Mapping[str, Words], options: ExtendOptions) -> Guard:
    """The rule for merges."""
    from seatools.vocab_extend.segments import Segments

    scripts: frozenset[str] | None = None if options.scripts is None else frozenset(options.scripts)
    if scripts is not None and not scripts:
        known = [scripts_of_language(lang) for lang in langs]
        scripts = None if None in known else frozenset(script for found in known for script in found or ())
    pairs = Segments.joined([words.symbols for words in protected.values()])
    return Guard(
        base.data,
        base.pieces,
        ProtectedPairs(pairs),
        base.joins,
        max_bytes=options.max_bytes,
        whole_characters=not options.partial_characters,
        scripts=scripts,
        base_rule=base.base_rule,
    )


def make_pool(
    base: Base, training: Mapping[str, Words], protected: Mapping[str, Words], options: ExtendOptions, guard: Guard
) -> Pool | None:
    """What the method wants; None for `continue`, which wants whatever is frequent."""
    if options.method == "continue":
        return None
    from seatools.vocab_extend.donor_merge import donor_pieces
    from seatools.vocab_extend.pools import DonorPool, TrainedPool, as_pieces

    num_streams = 1 if options.balance == "text" else len(training)
    if options.method == "merge":
        # With `ignore_merges` the base's rule asks for the base's own parts, which pieces of characters are not.
        rule = (lambda left, right, piece: True) if base.seeds_are_merges else base.base_rule
        size, least = options.trained_size, options.min_count
        return TrainedPool(_characters(base), num_streams, guard, rule, size, least)
    assert options.donor is not None
    donor = donor_pieces(load_tokenizer(options.donor), base.spelling)
    if not donor - base.taken:
        raise SeaError(f"{options.donor} has no piece that the base lacks", fix="give another donor")
    by_tf_idf = options.prune == "tfidf"
    others = []
    if by_tf_idf:
        if len(training) + len(protected) < 2:
            raise UsageError("--prune tfidf compares languages", fix="give --protect en=FILE, or another language")
        every = [(words, np.ones(len(words.texts), bool)) for words in protected.values()]
        others = [as_pieces(words.ids, words.counts, base.pieces, all_of) for words, all_of in every]
    chars = {base.data(piece).decode() for piece in donor}
    return DonorPool(donor, num_streams, guard, others, by_tf_idf, options.min_count, chars)


def _characters(base: Base) -> Any:
    if not base.seeds_are_merges:
        return list
    from seatools.text.byte_alphabet import spell

    return lambda word: [spell(char.encode()) for char in base.data(word).decode("utf-8", "ignore")]


def extend(
    tokenizer: Tokenizer,
    base: Base,
    corpus: Corpus,
    options: ExtendOptions,
    folder: Path,
    *,
    pattern: str | None = None,
    pre_tokenizer: dict[str, Any] | None = None,
    workers: int = 0,
    messages: Messages | None = None,
) -> Extension:
    """Fill `folder` with the extended tokenizer and new_tokens.jsonl; raises CheckFailed if anything does not hold.

    `base`: `open_base` of the tokenizer, with `pre_tokenizer` if one is given. The caller throws the folder away on an
    error.
    """
    messages = messages or Messages(quiet=True)
    training, protected, learned, guard = learn(base, corpus, options, workers=workers, messages=messages)
    tokens, dropped = learned.tokens, list[NewToken]()
    if not tokens:
        raise SeaError(
            f"the text gives no new token: no pair in it that may be merged occurs {options.min_count} times",
            fix="more text, a smaller --min-count, or less --protect",
        )
    before = tokenizer if pre_tokenizer is None else with_pre_tokenizer(tokenizer, pre_tokenizer)
    if options.reuse_unreachable:
        tokens = with_reused_ids(before, tokens)
    for _ in range(_ROUNDS):
        with stage("writing the tokenizer", messages.quiet):
            write_extended(tokenizer, tokens, folder, pre_tokenizer=pre_tokenizer)
            extended = load_tokenizer(folder, pattern=pattern)
            after = open_base(extended, unigram=options.unigram)
        with stage("checking every distinct word", messages.quiet):
            proof = prove_words(base, after, tokens, training, protected, max_drift=options.max_drift, workers=workers)
        if not proof.unreachable:
            break
        if base.law == "expands":
            first = proof.unreachable[0]
            raise CheckFailed(
                f"{len(proof.unreachable)} new tokens can never be produced, {first.piece!r} (id {first.id}) first",
                fix="nothing was written; this is a defect of sea or of the base: please report it",
            )
        lost, tokens = without(tokens, proof.unreachable)
        dropped += lost
    else:
        raise CheckFailed(f"{len(proof.unreachable)} new tokens can still not be reached after {_ROUNDS} rounds")
    if not tokens:
        raise SeaError("no new token can be reached in this text", fix="more text")
    samples = {lang: corpus.samples[role, lang] for role, lang in corpus.samples if role in ("train", "measure")}
    guarded = {lang: corpus.samples["protect", lang] for lang in corpus.langs("protect")}
    with stage("checking samples of the text", messages.quiet):
        prove_running(before, extended, tokens, samples, guarded, proof, law=base.law, workers=workers)
    for lang, row in proof.languages.items():
        row.num_docs, row.num_bytes = corpus.words["train", lang].num_docs, corpus.words["train", lang].num_bytes
    rows = [dump(token.record(proof.counts[token.id])) + b"\n" for token in tokens]
    (folder / NEW_TOKENS).write_bytes(b"".join(rows))
    size = extended.vocab_size
    padded = -(-size // options.pad_to_multiple) * options.pad_to_multiple
    return Extension(before, extended, tokens, learned, proof, dropped, protected, guard.refused, size, padded)


def check_parallel(corpus: Corpus, options: ExtendOptions) -> None:
    """UsageError or SeaError unless the parallel text can say what the parities are."""
    if options.reference is None:
        return
    num_docs = {lang: corpus.words["parallel", lang].num_docs for lang in corpus.langs("parallel")}
    for lang in (options.reference, *(corpus.langs("train") if options.needs_parity else ())):
        if lang not in num_docs:
            raise UsageError(
                f"--reference {options.reference}: no --parallel text of {lang}", fix=f"--parallel {lang}=FILE"
            )
    for lang, num in num_docs.items():
        if num != num_docs[options.reference]:
            raise SeaError(
                f"{lang} has {num:,} parallel records and {options.reference} has {num_docs[options.reference]:,}",
                fix="parity compares the same sentences: give files with the same records in the same order",
            )


def working_copy(base: Base) -> Base:
    """A base that learning may add its tokens to; the engines are shared."""
    other = copy.copy(base)
    other.pieces, other.taken = dict(base.pieces), set(base.taken)
    other.joins = None if base.joins is None else dict(base.joins)
    return other


def learn(
    base: Base, corpus: Corpus, options: ExtendOptions, *, workers: int = 0, messages: Messages | None = None
) -> tuple[dict[str, Words], dict[str, Words], Learned, Guard]:
    """The new tokens, with the words that they were learned from and the protected ones."""
    messages = messages or Messages(quiet=True)
    check_parallel(corpus, options)
    base = working_copy(base)
    words = {key: corpus.encoded(*key, base, workers) for key in corpus.words if key[0] != "measure"}
    training = {lang: words["train", lang] for lang in corpus.langs("train")}
    protected = {lang: words["protect", lang] for lang in corpus.langs("protect")}
    parallel = {lang: words["parallel", lang] for lang in corpus.langs("parallel")}
    messages.debug(f"{sum(len(found.texts) for found in training.values()):,} distinct words")
    guard = make_guard(base, list(training), protected, options)
    learned = learn_tokens(
        base,
        training,
        {lang: corpus.words["train", lang].num_bytes for lang in training},
        Wish(
            add=options.add, min_count=options.min_count, balance=options.balance, weights=options.weights,
            targets=options.until,
        ),
        guard,
        parallel=parallel,
        parallel_bytes={lang: corpus.words["parallel", lang].num_bytes for lang in parallel},
        reference=options.reference,
        pool=make_pool(base, training, protected, options, guard),
        quiet=messages.quiet,
    )  # fmt: skip
    return training, protected, learned, guard


def without(tokens: list[NewToken], lost: list[NewToken]) -> tuple[list[NewToken], list[NewToken]]:
    """(taken out, kept) with ids that follow each other again. What is built on a lost one is joined otherwise."""
    gone = {token.id for token in lost}
    kept = [token for token in tokens if token.id not in gone]
    names = {token.id: tokens[0].id + number for number, token in enumerate(kept)}
    kept = [replace(token, parents=None) if gone.intersection(token.parents or ()) else token for token in kept]
    return [token for token in tokens if token.id in gone], [renamed(token, names) for token in kept]


def renamed(token: NewToken, names: Mapping[int, int]) -> NewToken:
    """The token with the ids of new tokens replaced by `names`."""
    parents = token.parents and (
        names.get(token.parents[0], token.parents[0]),
        names.get(token.parents[1], token.parents[1]),
    )
    return replace(token, id=names[token.id], parents=parents)


def with_reused_ids(tokenizer: Tokenizer, tokens: list[NewToken]) -> list[NewToken]:
    """The first tokens on ids that nothing needs, the others after the base's last one."""
    from seatools.text.reachability import unreachable_tokens
    from seatools.vocab_extend.reused_ids import reusable_ids

    if not isinstance(tokenizer, JsonTokenizer) or tokenizer.kind == "json-unigram":
        raise UsageError(
            f"{tokenizer.path}: in a {tokenizer.kind} tokenizer the id is the priority, so no old id can be reused",
            fix="leave --reuse-unreachable out",
        )
    free = reusable_ids(tokenizer.json_model, unreachable_tokens(tokenizer))
    first = tokens[0].id
    names = {
        token.id: free[number] if number < len(free) else first + number - len(free)
        for number, token in enumerate(tokens)
    }
    return [renamed(token, names) for token in tokens]
