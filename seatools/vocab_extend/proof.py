"""What must hold of an extended tokenizer, checked with the real engines on all of the text before anything is kept.

- every new token is emitted somewhere in the text, or its own text gives it (a step on the way to longer tokens);
- expanding the new tokens gives the base encoding. With a merge list that is a theorem (vocab-embed.md 6.1: base merges
  are exhausted first and never see a new symbol), so one exception is a defect and fails. sentencepiece joins by
  concatenation, so there the share of lines is measured, and the decoded text must be the base's;
- sentencepiece and tokenizer.json, where both exist, disagree on at most 0.5 % more lines than the base's did (they
  rank equal splits differently on runs of one character);
- protected documents keep their ids.
Cost: both tokenizers encode and decode the text once; a SentencePiece base does it once more by lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seatools.streams.errors import CheckFailed
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.tokenizer import Tokenizer
from seatools.vocab_extend.batches import batches
from seatools.vocab_extend.new_token import NewToken, expand

MAX_DISAGREEMENT = 0.005


@dataclass
class Compression:
    """One language before and after."""

    num_docs: int = 0
    num_bytes: int = 0
    base_tokens: int = 0
    base_unk: int = 0
    new_tokens: int = 0


@dataclass
class Proof:
    """What was found."""

    languages: dict[str, Compression] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    """New token -> occurrences in the training text."""
    num_lines: int = 0
    other_expansion: int = 0
    """Lines of training text whose expanded encoding is not the base's (SentencePiece only)."""
    base_disagreements: int = 0
    disagreements: int = 0
    """Lines that sentencepiece and tokenizer.json encode differently, before and after."""


def prove(
    base: Tokenizer,
    extended: Tokenizer,
    tokens: Sequence[NewToken],
    texts: Mapping[str, Sequence[str]],
    protected: Mapping[str, Sequence[str]],
    *,
    workers: int = 0,
) -> Proof:
    """Check everything in this module's note; `texts`, `protected`: language -> documents. Raises CheckFailed."""
    proof = Proof()
    by_id = {token.id: token for token in tokens}
    exact = not isinstance(base, SentencePieceTokenizer)
    for token in tokens:
        written = extended.piece(token.id)
        if written != token.piece:
            raise _defect(f"the written tokenizer has {written!r} at id {token.id}, not {token.piece!r}")
    if not base.special_ids.items() <= extended.special_ids.items():
        raise _defect("a special token has lost its id")
    for lang, documents in texts.items():
        row = proof.languages.setdefault(lang, Compression())
        for batch in batches(documents):
            old, new = base.encode_batch(batch, workers=workers), extended.encode_batch(batch, workers=workers)
            for text, old_ids, new_ids in zip(batch, old, new, strict=True):
                row.num_docs += 1
                row.num_bytes += len(text.encode())
                row.base_tokens += len(old_ids)
                row.base_unk += old_ids.count(base.unk_id) if base.unk_id is not None else 0
                row.new_tokens += len(new_ids)
                proof.counts.update(id for id in new_ids if id in by_id)
                if exact and expand(new_ids, by_id) != old_ids:
                    raise _defect(f"the new encoding of {_shown(text)} does not expand to the base encoding")
                lossy = base.unk_id is not None and base.unk_id in old_ids  # a new character mends it
                if not lossy and base.decode(old_ids) != extended.decode(new_ids):
                    raise _defect(f"{_shown(text)} does not decode as it did")
        if not exact:
            _compare_lines(proof, base, extended, by_id, documents, workers)
    _check_protected(base, extended, protected, workers)
    _check_reachable(extended, [token for token in tokens if not proof.counts[token.id]])
    if proof.disagreements - proof.base_disagreements > MAX_DISAGREEMENT * proof.num_lines:
        raise CheckFailed(
            f"sentencepiece and tokenizer.json differ on {proof.disagreements} of {proof.num_lines} lines "
            f"(the base's: {proof.base_disagreements})",
            fix="give a folder with one of the two files",
        )
    return proof


def _compare_lines(
    proof: Proof,
    base: Tokenizer,
    extended: Tokenizer,
    by_id: dict[int, NewToken],
    documents: Sequence[str],
    workers: int,
) -> None:
    lines = [line for text in documents for line in text.split("\n") if line.strip()]
    for batch in batches(lines):
        old, new = base.encode_batch(batch, workers=workers), extended.encode_batch(batch, workers=workers)
        proof.num_lines += len(batch)
        for new_ids, old_ids in zip(new, old, strict=True):
            expanded = expand(new_ids, by_id)
            if expanded != old_ids and _one_unk(expanded, base.unk_id) != _one_unk(old_ids, base.unk_id):
                proof.other_expansion += 1
        proof.base_disagreements += _differing(base, batch, old, workers)
        proof.disagreements += _differing(extended, batch, new, workers)


def _one_unk(ids: Sequence[int], unk_id: int | None) -> list[int]:
    """Neighbouring UNKs as one: engines write one for a run of unknown characters."""
    return [id for at, id in enumerate(ids) if id != unk_id or at == 0 or ids[at - 1] != unk_id]


def _differing(tokenizer: Tokenizer, texts: list[str], ids: list[list[int]], workers: int) -> int:
    beside = getattr(tokenizer, "beside", None)
    if beside is None:
        return 0
    return sum(one != two for one, two in zip(ids, beside.encode_batch(texts, workers=workers), strict=True))


def _check_protected(
    base: Tokenizer, extended: Tokenizer, protected: Mapping[str, Sequence[str]], workers: int
) -> None:
    for lang, documents in protected.items():
        for batch in batches(documents):
            old, new = base.encode_batch(batch, workers=workers), extended.encode_batch(batch, workers=workers)
            for text, old_ids, new_ids in zip(batch, old, new, strict=True):
                if old_ids != new_ids:
                    raise _defect(f"protected text ({lang}) is encoded otherwise: {_shown(text)}")


def _check_reachable(extended: Tokenizer, unseen: Sequence[NewToken]) -> None:
    if not unseen:
        return
    if isinstance(extended, SentencePieceTokenizer):
        encode = _bare_model(extended)
        lost = [token for token in unseen if encode(token.piece) != [token.id]]
    else:
        assert isinstance(extended, JsonTokenizer)
        model = extended.engine.model
        if extended.json_model["model"].get("ignore_merges"):
            import copy

            model = copy.deepcopy(extended.engine).model
            model.ignore_merges = False  # it would hide merges that are missing
        lost = [token for token in unseen if [part.id for part in model.tokenize(token.piece)] != [token.id]]
    if lost:
        raise _defect(f"{len(lost)} new tokens can never be produced, {lost[0].piece!r} (id {lost[0].id}) first")


def _bare_model(extended: SentencePieceTokenizer):  # type: ignore[no-untyped-def]
    """The model without normaliser and dummy prefix: encodes a piece as its file spells it."""
    from sentencepiece import SentencePieceProcessor

    proto = type(extended.model_proto)()
    proto.CopyFrom(extended.model_proto)
    spec = proto.normalizer_spec
    spec.name, spec.precompiled_charsmap = "identity", b""
    spec.add_dummy_prefix = spec.remove_extra_whitespaces = False
    engine = SentencePieceProcessor()
    engine.LoadFromSerializedProto(proto.SerializeToString())
    return engine.EncodeAsIds


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")


def _defect(what: str) -> CheckFailed:
    return CheckFailed(what, fix="nothing was written; this is a defect of sea or of the base: please report it")
