"""`--verify`: OUT is proven before it gets its name; what fails is named with its file, and OUT is thrown away.

In order, the cheap and exact first: weight files and index (headers), config.json and generation_config.json, every row
and tensor by its bits (`byte_proof`), tokenizer files, then transformers: AutoTokenizer, and the logits of both models
(`logit_proof`). Cost: both folders read once, and two loads in fp32; memory: one model in fp32.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seatools.embed_init.byte_proof import prove_bytes, prove_index, row_rule
from seatools.embed_init.checkpoint import Checkpoint, read_checkpoint
from seatools.embed_init.logit_proof import KeptTokens, check_memory, prove_logits
from seatools.embed_init.special_id_fields import id_fields
from seatools.embed_init.token_map import TokenMap
from seatools.streams.errors import CheckFailed, SeaError
from seatools.streams.weight_headers import file_tensors, vocabulary_config, weight_files
from seatools.text.tokenizer import Tokenizer, load_tokenizer

# Of what an old vocabulary of any kind has tokens for; words that became new tokens leave the text by themselves.
TEXTS = (
    "Once upon a time, there was a little girl who lived in a small house near the sea.",
    "The price rose by 12.5 % in 2024; see https://example.org/a?b=1 for the table.",
    "def area(radius):\n    return 3.14159 * radius ** 2\n",
)


@dataclass(frozen=True)
class Verified:
    """What was proven, in numbers for the manifest."""

    counts: dict[str, int]
    notes: list[str]
    """What is no failure, but worth a warning."""

    @property
    def sentence(self) -> str:
        return (
            f"verified: {self.counts['kept_rows']:,} old rows and {self.counts['other_tensors']:,} other tensors as "
            f"they were, bit for bit; logits of {self.counts['kept_tokens']:,} old tokens at "
            f"{self.counts['positions']} positions bit-equal in fp32"
        )


def check_verifiable(model: Path) -> None:
    """`SeaError` if transformers cannot load MODEL (quantised, own code, unknown type), or memory does not hold it."""
    from seatools.engine.load import check_folder

    checkpoint = read_checkpoint(model)
    try:
        check_folder(model)
    except SeaError as error:
        raise SeaError(
            f"--verify runs the model, and cannot: {error.what}", where=error.where, fix="leave out --verify"
        ) from error
    check_memory(checkpoint)


def verify(
    model: Path,
    old: Tokenizer,
    out: Path,
    new: Tokenizer,
    tokens: TokenMap,
    *,
    reinitialised: Collection[int] = (),
) -> Verified:
    """Prove that the folder `out` is `model` with new rows. `tokens`: which token of `new` is which of `old`.

    `reinitialised`: new ids of tokens that the old model had, whose rows are made anew all the same.
    Raises `CheckFailed` for the first thing that is not as it must be, `SeaError` if MODEL itself cannot be run.
    """
    before = read_checkpoint(model)
    after = _read_out(out, before)
    prove_index(after)
    _prove_configs(before, after, new, tokens)
    rule = row_rule(tokens, reinitialised, before.num_rows, after.num_rows, new)
    counts = prove_bytes(before, after, rule)
    notes = _prove_tokenizer(out, new, after.num_rows)
    anew = {*tokens.new, *reinitialised}
    kept = sorted((before_id, id) for id, before_id in tokens.old_id.items() if id not in anew)
    if kept:
        pairs = np.asarray(kept, dtype=np.int64)
        place = {int(id): position for position, id in enumerate(pairs[:, 0])}
        text = [place[id] for line in TEXTS for id in old.encode(line) if id in place]
        columns = KeptTokens(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]))
        counts["positions"] = prove_logits(model, out, before, columns, text, after.num_rows)
    else:
        counts["positions"] = 0
        notes.append("no token of the old model is kept, so no logits could be compared")
    return Verified(counts | {"kept_tokens": len(kept)}, notes)


def _read_out(out: Path, before: Checkpoint) -> Checkpoint:
    """OUT by its headers: whole files, an embedding of the shape that config.json says, tied as before."""
    try:
        config = json.loads((out / "config.json").read_bytes())
        said = vocabulary_config(config).get("vocab_size", config.get("vocab_size"))
        for name in weight_files(out)[0]:
            for tensor in file_tensors(out / name):
                if tensor.name == before.embedding.name and tensor.shape[:1] != (said,):
                    raise CheckFailed(
                        f'vocab_size is {said}, "{tensor.name}" is {[*tensor.shape]}', where="OUT/config.json"
                    )
        after = read_checkpoint(out)
    except (ValueError, OSError, AttributeError) as error:
        raise CheckFailed(f"cannot be read: {error}", where="OUT/config.json") from error
    except CheckFailed:
        raise
    except SeaError as error:
        where = error.where.replace(str(out), "OUT") if error.where else None
        raise CheckFailed(error.what.replace(str(out), "OUT"), where=where) from error
    if after.tied != before.tied:
        tie = "tied to the embedding" if before.tied else "a matrix of its own"
        raise CheckFailed(f"the head of the old model is {tie}, that of OUT is not", where="OUT/config.json")
    return after


def _prove_configs(before: Checkpoint, after: Checkpoint, new: Tokenizer, tokens: TokenMap) -> None:
    """vocab_size has a row for each id; every special id names the token that it named before."""
    if new.vocab_size > after.num_rows:
        raise CheckFailed(f"{after.num_rows} rows, and the tokenizer has ids up to {new.vocab_size - 1}", where="OUT")
    new_id, dropped = {old: id for id, old in tokens.old_id.items()}, set(tokens.dropped)
    for name in ("config.json", "generation_config.json"):
        was, now = (folder / name for folder in (before.folder, after.folder))
        if was.is_file() != now.is_file():
            raise CheckFailed(f"{name} is there in one of OUT and the old model only", where="OUT")
        if not was.is_file():
            continue
        fields, made = (dict(id_fields(json.loads(path.read_bytes()))) for path in (was, now))
        for key, ids in fields.items():
            expected = [new_id.get(id, id) for id in ids if id not in dropped]
            if made.get(key, []) != expected:
                raise CheckFailed(
                    f"{key} is {made.get(key, [])}; {ids} of the old model are {expected} now", where=f"OUT/{name}"
                )
            beyond = [id for id in expected if id >= after.num_rows]
            if beyond:
                raise CheckFailed(f"{key} names {beyond[0]}; there are {after.num_rows} rows", where=f"OUT/{name}")


def _prove_tokenizer(out: Path, new: Tokenizer, num_rows: int) -> list[str]:
    """OUT's tokenizer is the new one, here and for transformers. Returns notes."""
    try:
        found = load_tokenizer(out)
    except SeaError as error:
        raise CheckFailed(f"its tokenizer cannot be read: {error.what}", where="OUT") from error
    if found.digest() != new.digest():
        raise CheckFailed(f"its tokenizer is not that of {new.path}", where="OUT")
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    try:
        loaded: Any = transformers.AutoTokenizer.from_pretrained(out, local_files_only=True, trust_remote_code=False)
        highest = max(loaded.get_vocab().values())
        encoded = [loaded.encode(text, add_special_tokens=False) for text in TEXTS]
    except Exception as error:  # of many kinds, all of them about these files
        first = next(iter(str(error).splitlines()), type(error).__name__).replace(str(out), "OUT")
        raise CheckFailed(f"transformers does not load the tokenizer: {first[:200]}", where="OUT") from error
    if highest >= num_rows:
        raise CheckFailed(f"transformers' tokenizer has ids up to {highest}, the model {num_rows} rows", where="OUT")
    for token, id in new.special_ids.items():
        if loaded.convert_tokens_to_ids(token) != id:
            raise CheckFailed(
                f"{token!r} is {loaded.convert_tokens_to_ids(token)} for transformers, {id} in {new.path}", where="OUT"
            )
    other = sum(ids != new.encode(text) for ids, text in zip(encoded, TEXTS, strict=True))
    if other and not found.notes:  # differences between the files of one tokenizer are in its notes already
        return [f"transformers gives other ids than {new.path} for {other} of {len(TEXTS)} texts"]
    return []
