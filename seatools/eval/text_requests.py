"""Texts for bits per byte as documents: windows that score each token once (engine/text_windows.py).

With `--context-bytes N` a window is cut by bytes, not by tokens: each token sees at most N bytes before it and at least
half of them, whatever the tokenizer, so that a model whose vocabulary was extended, which sees more text in as many
tokens, is compared at equal context (research A5). BOS stands before each window and is not scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from seatools.engine.text_windows import window_document, windows
from seatools.eval.items import PerplexityItem
from seatools.eval.requests import Config, ScoreRequest, Setup
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import Record
from seatools.text.scored_text import Comes, ScoredText, encode_texts, warn_of_lost_text

T = TypeVar("T", bound=PerplexityItem)


def text_settings(setup: Setup) -> dict[str, Any]:
    """What bits per byte depend on beside the texts."""
    context = setup.tokenizer.piece(setup.tokenizer.context_id)
    if setup.options.context_bytes is not None:
        return {"context_bytes": setup.options.context_bytes, "context_token": context}
    window, stride = setup.options.window(setup.positions)
    return {"seq_len": window, "stride": stride, "context_token": context}


def text_requests(items: Sequence[PerplexityItem], config: Config, setup: Setup) -> list[ScoreRequest]:
    """The texts that have tokens; the others go to the policy for bad records."""
    context_id = setup.tokenizer.context_id
    found = []
    for item, text in readable_texts(items, setup):
        docs = tuple(window_document(text.ids, span, context_id) for span in _spans(text, setup))
        found.append(ScoreRequest(item=item, config=config, docs=docs, result=_result_of(text)))
    return found


def readable_texts(items: Sequence[T], setup: Setup) -> list[tuple[T, ScoredText]]:
    """The items that have tokens, encoded; the others go to the policy for bad records.

    Raises SeaError for a language that has none left; warns of texts that do not come back from their tokens.
    """
    records = []
    by_record: dict[int, T] = {}
    for item in items:
        own = setup.records.get(item.where)
        path, _, line = item.where.rpartition(":")
        record = Record(own.raw if own else b"", {"text": item.text}, own.path if own else path, own.line if own else
                        int(line) if line.isdigit() else 0)  # fmt: skip
        records.append(record)
        by_record[id(record)] = item
    texts = encode_texts(records, setup.tokenizer, rejects=setup.rejects, workers=setup.workers)
    for lang in dict.fromkeys(item.lang for item in items):
        own_texts = [text for text in texts if by_record[id(text.record)].lang == lang]
        if not own_texts:
            raise SeaError(f"no text left to score for {lang}")
        warn_of_lost_text(own_texts, f"{items[0].task}, {lang}", setup.messages.warn)
    return [(by_record[id(text.record)], text) for text in texts]


def _result_of(text: ScoredText) -> Callable[[np.ndarray], dict[str, Any]]:
    def result(values: np.ndarray) -> dict[str, Any]:
        made = {"nats": -float(values.sum()), "bytes": text.num_bytes, "tokens": len(text.ids)}
        if text.decoded is not Comes.same:
            made["round_trip_failure"] = text.decoded.value
        return made

    return result


def _spans(text: ScoredText, setup: Setup) -> Iterator[tuple[int, int, int]]:
    context = setup.options.context_bytes
    if context is None:
        yield from windows(len(text.ids), *setup.options.window(setup.positions))
        return
    lengths = [len(setup.tokenizer.piece_bytes(int(id_))) for id_ in text.ids]
    for start, end, scored in byte_windows(lengths, context):
        if setup.positions is not None and end - start + 1 > setup.positions:
            raise UsageError(
                f"{text.where}: {context:,} bytes are {end - start:,} tokens here, the model takes {setup.positions:,}",
                fix="a smaller --context-bytes",
            )
        yield start, end, scored


def byte_windows(lengths: Sequence[int], context: int) -> Iterator[tuple[int, int, int]]:
    """`text_windows.windows` for windows of at most `context` bytes that step by half of them.

    `lengths`: bytes of each token. A token longer than a window is read alone.
    """
    ends = np.cumsum(np.asarray(lengths, dtype=np.int64))
    begins = ends - np.asarray(lengths, dtype=np.int64)
    done = 0
    while done < len(ends):
        room = context if done == 0 else max(1, context // 2)
        end = max(done + 1, int(np.searchsorted(ends, begins[done] + room, side="right")))
        start = min(done, int(np.searchsorted(begins, ends[end - 1] - context)))
        yield start, end, end - done
        done = end
