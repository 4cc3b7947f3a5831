"""tokenizer.json, vocab.json and merges.txt with new tokens in them.

Old ids, pieces and merges stay as they are and in their order; a piece whose id a new token takes goes, with its
merges (`reused_ids.py` says when that is sound). Traps (vocab-embed.md 1d; transformers 5.23):
- tokenizers numbers an added token anew unless the model's vocabulary has it, so added tokens go into it too;
- a Unigram vocabulary is a list without gaps, so there added tokens beyond its end cannot keep their ids;
- `Qwen2Tokenizer`, `GPT2Tokenizer` and their like build their own pre-tokenizer and ignore the one in tokenizer.json,
  so a changed one needs another class in tokenizer_config.json, and the roles that the old class knew. For a model of
  type qwen2 AutoTokenizer overrules that too, unless there is an `auto_map`; so one is written, with its module.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatools.streams.errors import SeaError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.special_tokens import AS_SAVED, AddedToken, read_bytes, read_json
from seatools.text.vocab_merges import END, class_roles
from seatools.vocab_extend.new_token import NewToken
from seatools.vocab_extend.reused_ids import without_pieces
from seatools.vocab_extend.sentencepiece_files import falling_scores

Merges = Sequence[tuple[str, str]]
_MODULE = '''"""tokenizer.json as it is: its pre-tokenizer is not the one that the model's own class would build."""

from transformers import PreTrainedTokenizerFast


class TokenizerAsSaved(PreTrainedTokenizerFast):
    pass
'''


def merges_of(tokens: Sequence[NewToken], tokenizer: JsonTokenizer) -> list[tuple[str, str]]:
    """One merge for each token that has parents."""
    spelled = {token.id: token.piece for token in tokens}

    def piece(id: int) -> str:
        return spelled[id] if id in spelled else tokenizer.piece(id)

    return [(piece(token.parents[0]), piece(token.parents[1])) for token in tokens if token.parents is not None]


def extended_json(
    parsed: dict[str, Any],
    tokens: Sequence[NewToken],
    added: Sequence[AddedToken],
    merges: Merges,
    pre_tokenizer: dict[str, Any] | None,
) -> bytes:
    """tokenizer.json; `pre_tokenizer`: the section to put in place of the old one, if any."""
    model: dict[str, Any] = dict(parsed["model"])
    if isinstance(model["vocab"], list):
        model["vocab"] = _extended_unigram(model["vocab"], tokens, added)
    else:
        vocabulary, old = without_pieces(model["vocab"], model.get("merges") or [], _ids(tokens))
        model["vocab"] = _with_entries(vocabulary, tokens, added)
        as_text = bool(old) and isinstance(old[0], str)  # files of tokenizers before 0.20
        model["merges"] = old + [" ".join(pair) if as_text else list(pair) for pair in merges]
    extended = {**parsed, "model": model}
    if pre_tokenizer is not None:
        extended["pre_tokenizer"] = pre_tokenizer
    return json.dumps(extended, ensure_ascii=False, indent=2).encode()


def extended_vocabulary(path: Path, tokens: Sequence[NewToken], added: Sequence[AddedToken]) -> bytes:
    """vocab.json."""
    vocabulary, _ = without_pieces(read_json(path), [], _ids(tokens))
    return json.dumps(_with_entries(vocabulary, tokens, added), ensure_ascii=False).encode()


def extended_merges(path: Path, vocabulary: dict[str, int], tokens: Sequence[NewToken], merges: Merges) -> bytes:
    """merges.txt; `vocabulary`: the base's pieces."""
    old = read_bytes(path)
    if _ids(tokens) & set(vocabulary.values()):
        lines = old.decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
        header = [line for line in lines if line.startswith("#version")]
        _, kept = without_pieces(vocabulary, [line for line in lines if line and line not in header], _ids(tokens))
        old = "".join(f"{line}\n" for line in [*header, *kept]).encode()
    lines_new = "".join(f"{left} {right}\n" for left, right in merges)
    return old + (b"" if old.endswith(b"\n") else b"\n") + lines_new.encode()


def plain_config(tokenizer: JsonTokenizer) -> dict[str, bytes]:
    """tokenizer_config.json that makes transformers use tokenizer.json as it is, with the base's roles, and its module.

    The module is read only by callers that ask for `trust_remote_code`; others get PreTrainedTokenizerFast itself.
    """
    path = next((file for file in tokenizer.files if file.name == "tokenizer_config.json"), None)
    values: dict[str, Any] = read_json(path) if path else {}
    # Without a class transformers goes by the model's type: GPT-2's own folder names neither class nor roles.
    family = str(values.get("tokenizer_class") or "GPT2")
    known = dict.fromkeys(class_roles(family), END) if END in tokenizer.special_ids else {}
    values = {**known, **values, "tokenizer_class": "PreTrainedTokenizerFast"}
    values["auto_map"] = {"AutoTokenizer": [f"{AS_SAVED.removesuffix('.py')}.TokenizerAsSaved"] * 2}
    return {
        "tokenizer_config.json": (json.dumps(values, ensure_ascii=False, indent=2) + "\n").encode(),
        AS_SAVED: _MODULE.encode(),
    }


def check_pair(tokenizer: JsonTokenizer) -> None:
    """tokenizer.json and the vocab.json beside it must hold the same pieces."""
    for file in tokenizer.files[1:]:
        if file.name != "vocab.json":
            continue
        ids = tokenizer.vocabulary | {token.content: token.id for token in tokenizer.added_tokens}
        for piece, id in read_json(file).items():
            if ids.get(piece) != id:
                raise SeaError(
                    f"{piece!r} has id {id} in {file} and {ids.get(piece, 'none')} in {tokenizer.files[0]}",
                    fix="one of the two files is not this model's: give tokenizer.json alone",
                )


def _ids(tokens: Sequence[NewToken]) -> set[int]:
    return {token.id for token in tokens}


def _with_entries(
    vocabulary: dict[str, int], tokens: Sequence[NewToken], added: Sequence[AddedToken]
) -> dict[str, int]:
    old = vocabulary | {token.content: token.id for token in added if token.id is not None}
    taken = set(old.values())
    for token in tokens:
        if token.piece in old or token.id in taken:
            raise SeaError(
                f"the new piece {token.piece!r} or its id {token.id} is in the vocabulary already",
                fix="give every new token a piece and an id that no token keeps",
            )
    return old | {token.piece: token.id for token in tokens}


def _extended_unigram(
    vocabulary: list[Any], tokens: Sequence[NewToken], added: Sequence[AddedToken]
) -> list[list[Any]]:
    beyond = [token.content for token in added if token.id is not None and token.id >= len(vocabulary)]
    if beyond:
        raise SeaError(
            f"the added token {beyond[0]!r} is not in the Unigram vocabulary and would lose its id to a new piece",
            fix="give the SentencePiece model alone, or put its added tokens into the vocabulary of tokenizer.json",
        )
    scores = falling_scores(min(score for _, score in vocabulary), 0.0)
    return [*vocabulary, *([token.piece, score] for token, score in zip(tokens, scores, strict=False))]
