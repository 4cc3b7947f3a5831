"""What is wrong with the merges of a BPE tokenizer, read off the file: merges that do nothing, tokens that none makes.

A merge list (`tokenizer.json`, merges.txt) is looked at as it is. tiktoken ranks and SentencePiece scores join any two
neighbours that spell a token, so there a token's merges are its splits in two tokens. Cost: 0.5 s for 200,000 tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.tiktoken_ranks import TiktokenTokenizer
from seatools.text.tokenizer import Tokenizer

Spelling = TypeVar("Spelling", str, bytes)


@dataclass
class MergeFaults:
    """Ids of the tokens concerned."""

    num_merges: int | None = None
    """Entries of the merge list; None where there is none."""
    num_idle: int | None = None
    """Merges that no text makes fire: repeated, or the result is made another way or not at all. None as above."""
    unmerged: list[int] = field(default_factory=list)
    """More than one symbol, and no merge gives them."""
    remade: list[int] = field(default_factory=list)
    """Results of several entries of the merge list."""
    disordered: list[int] = field(default_factory=list)
    """Each merge that gives them needs a part that ranks below the token itself, so is made after it."""


def merge_faults(tokenizer: Tokenizer, ids: Collection[int], made: Collection[int]) -> MergeFaults | None:
    """`ids`: the ordinary ones; `made`: those of them that the model makes (`reachability.py`). None for Unigram."""
    if isinstance(tokenizer, JsonTokenizer) and tokenizer.json_model["model"]["type"] == "BPE":
        return _of_list(tokenizer, ids, made)
    if isinstance(tokenizer, TiktokenTokenizer):
        return _of_splits({tokenizer.piece_bytes(id): id for id in ids}, lambda id: id)
    if isinstance(tokenizer, SentencePieceTokenizer) and tokenizer.kind == "sentencepiece-bpe":
        pieces = tokenizer.model_proto.pieces
        return _of_splits({tokenizer.piece(id): id for id in ids}, lambda id: -pieces[id].score)
    return None


def _of_list(tokenizer: JsonTokenizer, ids: Collection[int], made: Collection[int]) -> MergeFaults:
    merges = tokenizer.json_model["model"].get("merges") or []
    pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    rank: dict[str, int] = {}  # of a result: its first merge
    for number, (left, right) in enumerate(pairs):
        rank.setdefault(left + right, number)
    faults = MergeFaults(num_merges=len(pairs))
    vocabulary = tokenizer.vocabulary
    seen: set[str] = set()
    ordered: set[str] = set()
    remade: set[str] = set()
    for number, (left, right) in enumerate(pairs):
        result = left + right
        if result in seen:
            remade.add(result)
        seen.add(result)
        if rank.get(left, -1) < number and rank.get(right, -1) < number:
            ordered.add(result)
    # One span of text is merged in one way, so of the merges with one result at most one ever fires.
    faults.num_idle = len(pairs) - sum(vocabulary[result] in made for result in rank)
    faults.remade = sorted(vocabulary[result] for result in remade)
    faults.disordered = sorted(vocabulary[result] for result in rank if result not in ordered)
    unmade = [id for piece, id in vocabulary.items() if len(piece) > 1 and piece not in rank]
    faults.unmerged = sorted(set(unmade) & set(ids))
    return faults


def _of_splits(tokens: dict[Spelling, int], rank: Callable[[int], float]) -> MergeFaults:
    faults = MergeFaults()
    for spelling, id in tokens.items():
        if len(spelling) == 1:
            continue
        own, found = rank(id), False
        for cut in range(1, len(spelling)):
            left, right = tokens.get(spelling[:cut]), tokens.get(spelling[cut:])
            if left is None or right is None:
                continue
            found = True
            if all(len(part) == 1 or rank(tokens[part]) < own for part in (spelling[:cut], spelling[cut:])):
                break
        else:
            (faults.disordered if found else faults.unmerged).append(id)
    return faults
