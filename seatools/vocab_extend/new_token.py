"""A new token, and its record in `new_tokens.jsonl`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Origin = Literal["char", "merge", "donor", "trained", "helper"]


@dataclass(frozen=True, slots=True)
class NewToken:
    """One token to append. Ids follow each other from the base's `vocab_size`."""

    id: int
    piece: str
    """As the tokenizer's files spell it (`ĠThai`, `▁ไทย`)."""
    data: bytes
    """The bytes that it stands for."""
    origin: Origin
    parents: tuple[int, int] | None
    """The two tokens that it joins; None for a character that the base spells in bytes or not at all."""
    base_ids: tuple[int, ...]
    """What it replaces: its tokens in the base tokenizer."""

    def record(self, count: int) -> dict[str, Any]:
        """The row of new_tokens.jsonl; `count`: occurrences in the extended encoding of the training text."""
        return {
            "token": self.piece,
            "id": self.id,
            "bytes": self.data.hex(),
            "pieces": list(self.base_ids),
            "count": count,
            "origin": self.origin,
        }


def expand(ids: Sequence[int], tokens: dict[int, NewToken]) -> list[int]:
    """`ids` with every new token replaced by its tokens in the base."""
    expanded: list[int] = []
    for id in ids:
        token = tokens.get(id)
        if token is None:
            expanded.append(id)
        else:
            expanded.extend(token.base_ids)
    return expanded


def joined_base_ids(parents: tuple[int, int], made: Sequence[NewToken], first_id: int) -> tuple[int, ...]:
    """The base tokens of a new token's two parents; `made`: the new tokens so far, in id order from `first_id`."""
    left, right = (made[id - first_id].base_ids if id >= first_id else (id,) for id in parents)
    return left + right
