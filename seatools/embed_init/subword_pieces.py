"""How the old tokenizer spells a new token: ids whose bytes joined are exactly the token's bytes, whatever the format.

`vocab-extend` writes them to new_tokens.jsonl, which is used where it holds. Else the token's text is encoded, and the
result checked: SentencePiece puts a space before every text, so where that joins the token, the text is encoded behind
an anchor, which is cut off again. What cannot be encoded so (half characters, what a normaliser changes) is spelled by
its characters, and these by their bytes. Cost: 0.03 ms a token (measured, Qwen2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seatools.embed_init.token_map import used_ids
from seatools.streams.errors import SeaError
from seatools.streams.parsed import parse_json
from seatools.text.tokenizer import Tokenizer

NEW_TOKENS = "new_tokens.jsonl"
# After none, each is a piece or a byte piece in nearly every vocabulary, and few of them merge with the same text.
_ANCHORS = ("", "\n", ".", "1", "a", "?")


class OldSpelling:
    """The old tokenizer as a speller of byte strings. `untrained`: ids that it never gives, and that are no pieces."""

    def __init__(self, old: Tokenizer, untrained: frozenset[int] = frozenset()) -> None:
        self.old = old
        self.untrained = untrained
        self._whole: dict[bytes, int] = {}
        for id in reversed(used_ids(old)):  # the lowest id wins
            if id not in old.byte_ids and id not in untrained:
                self._whole[old.piece_bytes(id)] = id
        self._whole.pop(b"", None)
        fallback = {old.piece_bytes(id): id for id in old.byte_ids}
        single = {data: id for data, id in self._whole.items() if len(data) == 1} if old.byte_level else {}
        self._byte = single | fallback

    def spells(self, pieces: list[int], data: bytes) -> bool:
        """True if `pieces` are trained ids of the old tokenizer and stand for `data` together."""
        try:
            return self.untrained.isdisjoint(pieces) and b"".join(self.old.piece_bytes(id) for id in pieces) == data
        except SeaError:
            return False

    def pieces(self, data: bytes) -> list[int] | None:
        """Old ids that stand for `data` (not empty) together; None if the old vocabulary cannot spell it."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return self._from_bytes(data)
        for anchor in _ANCHORS:
            tail = self._tail(self.old.encode(anchor + text), data)
            if tail is not None and self.untrained.isdisjoint(tail):
                return tail
        pieces: list[int] = []
        for char in text:
            encoded = char.encode()
            part = [self._whole[encoded]] if encoded in self._whole else self._from_bytes(encoded)
            if part is None:
                return None
            pieces += part
        return pieces

    def _tail(self, ids: list[int], data: bytes) -> list[int] | None:
        """The last of `ids` that stand for `data` together, if there are such."""
        rest = data
        for position in range(len(ids) - 1, -1, -1):
            part = self.old.piece_bytes(ids[position])
            if not part or not rest.endswith(part):
                return None
            rest = rest[: -len(part)]
            if not rest:
                return ids[position:]
        return None

    def _from_bytes(self, data: bytes) -> list[int] | None:
        pieces = [self._byte.get(data[position : position + 1]) for position in range(len(data))]
        return [id for id in pieces if id is not None] if None not in pieces else None


def spell_tokens(
    old: Tokenizer,
    new: Tokenizer,
    ids: list[int],
    listed: dict[int, list[int]],
    untrained: frozenset[int] = frozenset(),
) -> tuple[dict[int, list[int]], int]:
    """The pieces of each new id, and how many entries of `listed` (see `read_new_tokens`) were wrong.

    A token that stands for no text, or that the old vocabulary cannot spell, has no pieces.
    """
    spelling = OldSpelling(old, untrained)
    pieces: dict[int, list[int]] = {}
    num_wrong = 0
    for id in ids:
        data = new.piece_bytes(id)
        given = listed.get(id, [])
        if data and given and spelling.spells(given, data):
            pieces[id] = given
            continue
        pieces[id] = (spelling.pieces(data) or []) if data else []
        # Where nothing spells the token, UNK among the given pieces says so too.
        num_wrong += bool(given and pieces[id])
    return pieces, num_wrong


def read_new_tokens(path: Path) -> dict[int, list[int]]:
    """`new_tokens.jsonl`: id -> old ids that spell it. A missing file is an empty one."""
    if not path.is_file():
        return {}
    pieces: dict[int, list[int]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            row: Any = parse_json(line)
            id, ids = row["id"], row["pieces"]
            if type(id) is not int or not all(type(piece) is int for piece in ids):
                raise TypeError
        except (ValueError, KeyError, TypeError) as error:
            raise SeaError(
                'not a record of a new token: it needs "id" and "pieces"',
                where=f"{path}:{number}",
                fix="write the tokenizer again with sea vocab-extend, or remove the file",
            ) from error
        pieces[id] = ids
    return pieces
