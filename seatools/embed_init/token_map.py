"""Which token of the new tokenizer is which of the old: by what it stands for, never by id.

Files of one tokenizer in several formats spell a token differently (`Ġthe`, `▁the`, base64), so tokens are compared by
kind and bytes: `<0x41>` and `A` are two tokens with the same byte. Four rounds, strict to loose, and each old token is
taken once. Rows that would be nonsense are refused here. Cost: 1.5 s for two of 150,000 (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from seatools.streams.errors import SeaError
from seatools.text.tokenizer import Tokenizer

# Models pad their rows to multiples of up to 128, or in larger steps that stay under 5 % (DeepSeek 2.3 %, Phi-2 1.8 %).
_PADDING_ROWS, _PADDING_SHARE = 128, 0.05


@dataclass(frozen=True)
class TokenMap:
    """How the ids of two tokenizers correspond. Ids in ascending order."""

    old_id: dict[int, int]
    """New id -> the old id of the same token."""
    new: list[int]
    """New ids whose token the old tokenizer does not have."""
    dropped: list[int]
    """Old ids whose token the new tokenizer does not have."""
    old_in_use: list[int]

    @property
    def num_moved(self) -> int:
        return sum(new != old for new, old in self.old_id.items())


def used_ids(tokenizer: Tokenizer) -> list[int]:
    """The ids that have a piece, ascending; some tokenizers leave gaps."""
    used = []
    for id in range(tokenizer.vocab_size):
        try:
            tokenizer.piece(id)
        except SeaError:
            continue
        used.append(id)
    return used


def match_tokens(old: Tokenizer, new: Tokenizer) -> TokenMap:
    """Pair the tokens of two tokenizers."""
    left_old, left_new = used_ids(old), used_ids(new)
    old_in_use = left_old
    old_id: dict[int, int] = {}
    for key in _KEYS:
        index: dict[Hashable, int] = {}
        for id in left_old:
            index.setdefault(key(old, id), id)
        index.pop(None, None)
        for id in left_new:
            match = index.pop(key(new, id), None)
            if match is not None:
                old_id[id] = match
        taken = set(old_id.values())
        left_old = [id for id in left_old if id not in taken]
        left_new = [id for id in left_new if id not in old_id]
    return TokenMap(old_id, left_new, left_old, old_in_use)


def _meaning(tokenizer: Tokenizer, id: int) -> Hashable:
    data = tokenizer.piece_bytes(id)
    if not data:
        return ("special", tokenizer.piece(id))
    return ("byte" if id in tokenizer.byte_ids else "text", data)


def _meaning_and_spelling(tokenizer: Tokenizer, id: int) -> Hashable:
    """First, so that two pieces of one meaning in both vocabularies are not crossed."""
    return (_meaning(tokenizer, id), tokenizer.piece(id))


def _text(tokenizer: Tokenizer, id: int) -> Hashable:
    """For tokens that are special in one of the two and plain text in the other."""
    return None if id in tokenizer.byte_ids else tokenizer.piece_bytes(id) or tokenizer.piece(id).encode()


def _spelling(tokenizer: Tokenizer, id: int) -> Hashable:
    """For `▁▁`, which is two spaces as a piece and itself as an added token. Byte-level files spell otherwise."""
    return None if tokenizer.byte_level else tokenizer.piece(id)


_KEYS: tuple[Callable[[Tokenizer, int], Hashable], ...] = (_meaning_and_spelling, _meaning, _text, _spelling)


def check_fit(num_rows: int, old: Tokenizer, new: Tokenizer, tokens: TokenMap) -> None:
    """`SeaError` if the tokenizers cannot be those of a model with `num_rows` rows, and of its extension."""
    fix = "--old-tokenizer names the tokenizer that the model was trained with"
    if old.vocab_size > num_rows:
        raise SeaError(f"{old.path} has ids up to {old.vocab_size - 1}, the model has {num_rows} rows", fix=fix)
    explained = max(_PADDING_ROWS, int(num_rows * _PADDING_SHARE))
    if num_rows - old.vocab_size > explained:
        raise SeaError(
            f"{old.path} has {old.vocab_size} ids, the model {num_rows} rows: more than padding explains", fix=fix
        )
    if num_rows - new.vocab_size > explained:
        raise SeaError(
            f"{new.path} has {new.vocab_size} ids, the model {num_rows} rows: it is no extension of its tokenizer",
            fix="--tokenizer names the extended tokenizer",
        )
    smaller = min(len(tokens.old_in_use), len(tokens.old_id) + len(tokens.new))
    if len(tokens.old_id) * 2 < smaller:
        raise SeaError(
            f"{new.path} and {old.path} share {len(tokens.old_id)} of {smaller} tokens: they are not of one family",
            fix=fix,
        )


def listed(tokenizer: Tokenizer, ids: Iterable[int], limit: int = 10) -> str:
    """The first tokens of `ids` for a message."""
    ids = list(ids)
    shown = ", ".join(repr(tokenizer.piece(id)) for id in ids[:limit])
    return shown + (f" and {len(ids) - limit:,} more" if len(ids) > limit else "")
