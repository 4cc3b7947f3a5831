"""How many tokens and trained tokens each record has, as `sea train` will see it.

Plain text needs no mask to be counted: all of it is trained but its first token, so one encoding and its length do;
`Documents.encode` builds arrays and masks besides (measured: 10 to 13 % of the time of SentencePiece and tiktoken).
Chats, completions and whatever is odd goes through `Documents.encode`; the tests hold the two to the same counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from seatools.text.documents import Documents


class Counts(NamedTuple):
    """Of one document, BOS and EOS included."""

    tokens: int
    targets: int
    """Tokens that are trained."""
    unk: int
    """Tokens that are the tokenizer's `<unk>`; 0 where that is also its BOS or EOS."""


def count_records(
    documents: Documents, values: Sequence[Mapping[str, Any]], *, workers: int = 0
) -> list[Counts | SeaError]:
    """For each record its counts, or the error that makes it a reject."""
    tokenizer = documents.tokenizer
    # GPT-2's family calls its end of text the unknown token too, and never needs one.
    unk = tokenizer.unk_id if tokenizer.unk_id not in (tokenizer.bos_id, tokenizer.eos_id) else None
    if len(tokenizer.byte_ids) == 256:
        unk = None  # what has no piece becomes bytes; looking for it would take a seventh of the time
    ends = (tokenizer.bos_id is not None) + (documents.add_eos and tokenizer.eos_id is not None)
    found: list[Counts | SeaError | None] = [None] * len(values)
    plain = [i for i, value in enumerate(values) if _is_plain(value)]
    try:
        encoded = tokenizer.encode_batch([values[i]["text"] for i in plain], workers=workers)
    except SeaError:  # one of them is at fault; `Documents.encode` says which
        plain, encoded = [], []
    for i, ids in zip(plain, encoded, strict=True):
        tokens = len(ids) + ends
        if tokens > 1:
            found[i] = Counts(tokens, tokens - 1, 0 if unk is None else ids.count(unk))
    others = [i for i, counts in enumerate(found) if counts is None]
    if others:
        for i, doc in zip(others, documents.encode([values[i] for i in others], workers=workers), strict=True):
            if isinstance(doc, SeaError):
                found[i] = doc
            else:
                num_unk = 0 if unk is None else int((doc.ids == unk).sum())
                found[i] = Counts(len(doc.ids), doc.num_targets, num_unk)
    return found  # type: ignore[return-value]  # none is left None


def _is_plain(value: Mapping[str, Any]) -> bool:
    """Whether `Documents` takes the record as plain text that it can encode."""
    if "messages" in value or ("prompt" in value and "completion" in value):
        return False
    text = value.get("text")
    return isinstance(text, str) and bool(text)
