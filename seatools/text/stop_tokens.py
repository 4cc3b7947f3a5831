"""The tokens that end an answer, as the tokenizer and the model's own files name them."""

from __future__ import annotations

import json
from pathlib import Path

from seatools.streams.errors import SeaError
from seatools.text.tokenizer import Tokenizer


def stop_ids(tokenizer: Tokenizer, model_path: Path) -> frozenset[int]:
    """EOS, BOS (a model trained on packed documents ends one by beginning the next), and what config.json and
    generation_config.json name as `eos_token_id`. Raises SeaError for one of these files that is no JSON object."""
    ids = {id_ for id_ in (tokenizer.eos_id, tokenizer.bos_id) if id_ is not None}
    for file in (model_path / "config.json", model_path / "generation_config.json"):
        if not file.is_file():
            continue
        try:
            named = json.loads(file.read_bytes()).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise SeaError("is not a JSON object", where=str(file)) from error
        ids |= {id_ for id_ in (named if isinstance(named, list) else [named]) if isinstance(id_, int)}
    return frozenset(ids)
