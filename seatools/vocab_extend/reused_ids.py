"""Ids that a new token may take without making the vocabulary longer (`--reuse-unreachable`).

Only for merge lists that are explicit (tokenizer.json, merges.txt), where an id says nothing about priority. A symbol
that comes up while a text is encoded ends up in the encoding, alone or inside a symbol merged from it. So if all merges
with an unreachable token as a part yield tokens that are dropped too, it never comes up in any text, and neither it
nor its merges are missed (the largest such set is found by leaving out the others until none is left to leave out).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from seatools.streams.errors import SeaError
from seatools.text.huggingface_json import BYTE_PIECE


def reusable_ids(json_model: Mapping[str, Any], unreachable: Collection[int]) -> list[int]:
    """Ids below the highest in use that a new token may have: gaps, then tokens that no kept token needs.

    In an order of which any first part may be taken alone: gaps ascending, then the longest pieces first, since what
    is made from a token is longer than it.

    `json_model`: a parsed tokenizer.json with a BPE model, its added tokens complete; `unreachable`: ids that no text
    is encoded to. Added tokens, UNK, the bytes of byte fallback and single characters (what a text is first cut into,
    so all 256 bytes of a byte-level model) are never offered.
    """
    model = json_model["model"]
    vocabulary: dict[str, int] = model["vocab"]
    added = {token["content"]: token["id"] for token in json_model.get("added_tokens") or []}
    used = {*vocabulary.values(), *added.values()}
    never = {*added, model.get("unk_token")}
    dead = set(unreachable)
    candidates = {
        piece
        for piece, id in vocabulary.items()
        if id in dead and len(piece) > 1 and piece not in never and not BYTE_PIECE.fullmatch(piece)
    }
    parts_of: dict[str, set[str]] = defaultdict(set)
    for left, right in merge_pairs(model.get("merges") or []):
        parts_of[left + right].update(part for part in (left, right) if part in candidates)
    kept = [result for result in parts_of if result not in candidates]
    while kept:
        for part in parts_of.get(kept.pop(), ()):
            if part in candidates:
                candidates.remove(part)
                kept.append(part)
    gaps = set(range(max(used, default=-1))) - used
    longest_first = sorted(candidates, key=lambda piece: (-len(piece), vocabulary[piece]))
    return [*sorted(gaps), *(vocabulary[piece] for piece in longest_first)]


def without_pieces(
    vocabulary: Mapping[str, int], merges: Iterable[Any], ids: Collection[int]
) -> tuple[dict[str, int], list[Any]]:
    """The vocabulary without the pieces that have `ids`, and the merges without those that make or use them.

    Merges keep their form and order. `SeaError` if a piece that stays is only made from one that goes.
    """
    ids = set(ids)
    dropped = {piece for piece, id in vocabulary.items() if id in ids}
    if not dropped:
        return dict(vocabulary), list(merges)
    kept: list[Any] = []
    for merge in merges:
        ((left, right),) = merge_pairs([merge])
        if left + right in dropped:
            continue
        if left in dropped or right in dropped:
            gone = left if left in dropped else right
            raise SeaError(
                f"the piece {gone!r} (id {vocabulary[gone]}) cannot be replaced: {left + right!r} is made from it",
                fix="reuse only ids that reusable_ids offers",
            )
        kept.append(merge)
    return {piece: id for piece, id in vocabulary.items() if piece not in dropped}, kept


def merge_pairs(merges: Iterable[Any]) -> Iterable[tuple[str, str]]:
    """Merges as pairs: files hold "a b" (tokenizers before 0.20) or ["a", "b"]."""
    for merge in merges:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        yield left, right
