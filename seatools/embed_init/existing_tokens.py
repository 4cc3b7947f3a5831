"""Old tokens whose rows were never trained (`--reinit FILE`): `sea vocab-extend` lists them in existing_tokens.jsonl.

woken: the new tokenizer gives them and the old one did not (another pre-tokenizer), so their rows are made anew.
dormant, unreachable: no text gives them with either, so their rows never matter and stay. None of the three says
anything about what trained rows look like, so all are left out of means, covariances and neighbours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatools.embed_init.token_map import TokenMap
from seatools.streams.errors import SeaError
from seatools.streams.parsed import parse_json
from seatools.text.tokenizer import Tokenizer

EXISTING_TOKENS = "existing_tokens.jsonl"
REASONS = ("woken", "dormant", "unreachable")


@dataclass(frozen=True)
class ExistingTokens:
    """What FILE says, by id of the new tokenizer."""

    pieces: dict[int, list[int]] = field(default_factory=dict)
    """Of each token whose row is made anew: the old ids that stood for its text."""
    untrained: frozenset[int] = frozenset()
    """Old ids of every listed token."""


def read_existing_tokens(path: Path, new: Tokenizer, tokens: TokenMap, reasons: tuple[str, ...]) -> ExistingTokens:
    """The tokens of `path` whose reason is in `reasons`, and the rows of all that it lists.

    Errors: `SeaError` with file:line for a line that is no such record, or names a token that `new` has not at that id
    or that is not one of the old tokenizer's.
    """
    fix = f"give the {EXISTING_TOKENS} that sea vocab-extend wrote beside the new tokenizer"
    pieces: dict[int, list[int]] = {}
    untrained: set[int] = set()
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SeaError(f"{path}: {error.strerror}", fix=fix) from error
    for number, line in enumerate(lines, 1):
        try:
            row: Any = parse_json(line)
            id, token, reason, spelled = row["id"], row["token"], row["reason"], row["pieces"]
            if type(id) is not int or reason not in REASONS or not all(type(piece) is int for piece in spelled):
                raise TypeError
        except (ValueError, KeyError, TypeError) as error:
            raise SeaError("not a record of an existing token", where=f"{path}:{number}", fix=fix) from error
        if not 0 <= id < new.vocab_size or id not in tokens.old_id or new.piece(id) != token:
            raise SeaError(
                f"{token!r} is not the old token with id {id} in {new.path}", where=f"{path}:{number}", fix=fix
            )
        untrained.add(tokens.old_id[id])
        if reason in reasons:
            pieces[id] = spelled
    return ExistingTokens(pieces, frozenset(untrained))


def woken_in(path: Path) -> int:
    """How many woken tokens the file lists, for the warning that --reinit was not given; 0 without a readable file."""
    try:
        return Counter(str(parse_json(line).get("reason")) for line in path.read_bytes().splitlines())["woken"]
    except (OSError, ValueError, AttributeError):
        return 0
