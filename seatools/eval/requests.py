"""What is asked of a model: an item with its tokens, the settings that its answer depends on, and the sample's key.

Everything is rendered and tokenised before a model is loaded, so that each complaint about data, shots, templates and
the length of prompts comes before minutes of loading, and so that the work can be planned as a whole (`units.py`).
Memory: 8 bytes a token of every choice and window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from seatools.eval.items import Item, JudgeItem
from seatools.eval.samples import Sample, sample_key
from seatools.eval.setup import Options
from seatools.streams.messages import Messages
from seatools.streams.records import BadRecord, Record, Rejects
from seatools.text.documents import Documents
from seatools.text.stop_tokens import stop_ids, turn_end_ids
from seatools.text.tokenizer import Tokenizer

Document = tuple[np.ndarray, np.ndarray]
"""(ids [n], loss_mask [n])."""
Config = Mapping[str, Any]


def digest16(*parts: Any) -> str:
    """16 hex digits of JSON values."""
    return hashlib.sha256(orjson.dumps(list(parts), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


@dataclass(frozen=True)
class Setup:
    """Everything that requests are made with."""

    model_path: Path
    documents: Documents
    """Encodes prompts and completions, without EOS."""
    positions: int | None
    """The longest input of the model, None: not limited."""
    options: Options
    messages: Messages
    rejects: Rejects
    records: Mapping[str, Record] = field(default_factory=dict)
    """By file:line: what is kept of a bad one."""
    workers: int = 0
    """Threads of the tokenizer; 0: all cores."""

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        found = stop_ids(self.tokenizer, self.model_path)
        return found | turn_end_ids(self.documents) if self.documents.template is not None else found

    @property
    def tokenizer(self) -> Tokenizer:
        return self.documents.tokenizer

    def refuse(self, item: Item, error: BadRecord) -> None:
        """Hand an item that cannot be asked to `--on-error`."""
        error.where = error.where or item.where
        record = self.records.get(item.where)
        path, _, line = item.where.rpartition(":")
        raw, path = (record.raw, record.path) if record is not None else (b"", path)
        self.rejects.take(error, raw, path, int(line) if line.isdigit() else 0)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One item with the settings of its answer (`config`: those of its task and language, without the model's)."""

    item: Item
    config: Config

    def key(self, common: Config) -> str:
        """The sample's key under the settings of a model, or of a model with neurons switched off."""
        return sample_key(self.item.task, self.item.lang, self.item.item, {**common, **self.config})

    def sample(self, common: Config, result: dict[str, Any]) -> Sample:
        """The sample that `result` makes."""
        item, config = self.item, {**common, **self.config}
        key = sample_key(item.task, item.lang, item.item, config)
        return Sample(
            key, item.task, item.lang, str(getattr(item, "kind", "")), item.scoring, item.item, item.index, result,
            config, item.id,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ScoreRequest(Request):
    """Documents whose trained tokens are scored; `result` makes the sample's result of their log-probabilities."""

    docs: tuple[Document, ...]
    result: Callable[[np.ndarray], dict[str, Any]]

    @property
    def num_tokens(self) -> int:
        return sum(len(ids) for ids, _ in self.docs)


@dataclass(frozen=True, kw_only=True)
class CountRequest(Request):
    """What no model is asked for: the sample's result is there (`counts`)."""

    counts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class AnswerRequest(Request):
    """A prompt to answer greedily; of a conversation the first turn, the others follow from the answers."""

    ids: tuple[int, ...]
    stop: tuple[str, ...]
    max_new_tokens: int
    expected: Mapping[str, Any]
    is_chat: bool
    messages: Sequence[Mapping[str, Any]] | str = ""
    """The prompt itself, for engines that take no tokens."""

    @property
    def num_turns(self) -> int:
        return len(self.item.turns) if isinstance(self.item, JudgeItem) else 1
