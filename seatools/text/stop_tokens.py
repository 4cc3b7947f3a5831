"""The tokens that end an answer, as the tokenizer and the model's own files name them."""

from __future__ import annotations

from pathlib import Path

from seatools.streams.errors import SeaError
from seatools.streams.parsed import parse_json
from seatools.text.documents import Documents
from seatools.text.tokenizer import Tokenizer

_QUESTION, _ANSWER = "sea-question", "sea-answer"


def stop_ids(tokenizer: Tokenizer, model_path: Path) -> frozenset[int]:
    """EOS, BOS (a model trained on packed documents ends one by beginning the next), and what config.json and
    generation_config.json name as `eos_token_id`. Raises SeaError for one of these files that is no JSON object."""
    ids = {id_ for id_ in (tokenizer.eos_id, tokenizer.bos_id) if id_ is not None}
    for file in (model_path / "config.json", model_path / "generation_config.json"):
        if not file.is_file():
            continue
        try:
            named = parse_json(file.read_bytes()).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise SeaError("is not a JSON object", where=str(file)) from error
        ids |= {id_ for id_ in (named if isinstance(named, list) else [named]) if isinstance(id_, int)}
    return frozenset(ids)


def turn_end_ids(documents: Documents) -> frozenset[int]:
    """EOS, and the special tokens that the chat template puts after an assistant turn: one of them is what a chat
    teaches the model to stop with. A template that cannot be rendered on a plain exchange adds nothing."""
    tokenizer = documents.tokenizer
    ids = {tokenizer.eos_id} - {None}
    if documents.template is not None:
        turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
        try:
            tail = documents.template.render(turns).rpartition(_ANSWER)[2]
        except SeaError:
            tail = ""
        ids |= {id_ for text, id_ in tokenizer.special_ids.items() if text in tail}
    return frozenset(id_ for id_ in ids if id_ is not None)
