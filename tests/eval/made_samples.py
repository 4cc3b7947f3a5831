"""Samples without a model, for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seatools.eval.results import collect, scores
from seatools.eval.samples import DIGESTS, Sample, item_digest, sample_key

CONFIG: dict[str, Any] = {name: None for name in DIGESTS} | {"model": "m", "model_digest": "w1", "task_digest": "t1"}


def sample(kind: str, scoring: str, content: Any, result: dict[str, Any], **more: Any) -> Sample:
    """A sample of the item `content`; `more`: task, lang, index, or entries of the config."""
    task, lang, index = more.pop("task", "quiz"), more.pop("lang", "th"), more.pop("index", 0)
    item, config = item_digest(content), CONFIG | more
    return Sample(sample_key(task, lang, item, config), task, lang, kind, scoring, item, index, result, config)


def choice(number: int, *, right: bool, scoring: str = "choice", choices: int = 2, **more: Any) -> Sample:
    """Item `number`, whose first choice is right."""
    logprobs = [-1.0] + [-2.0] * (choices - 1) if right else [-2.0] * (choices - 1) + [-1.0]
    result = {"logprobs": logprobs, "bytes": [1] * choices, "gold": 0}
    return sample("choice", scoring, ["q", number], result, index=number, **more)


def answer(number: int, text: str, scoring: str, finish: str = "stop", *, config: Any = None, **fields: Any) -> Sample:
    """Item `number`, answered by `text`."""
    result = {"text": text, "finish": finish} | fields
    return sample("generation", scoring, ["p", number], result, index=number, **(config or {}))


def nats(number: int, value: float, num_bytes: int, **more: Any) -> Sample:
    """Document `number`."""
    result = {"nats": value, "bytes": num_bytes, "tokens": num_bytes // 3}
    return sample("loglikelihood", "bits_per_byte", ["d", number], result, index=number, task="perplexity", **more)


def chrf(ours: Sequence[str], theirs: Sequence[str], *, word_order: int = 0, seed: int = 0) -> dict[str, Any]:
    """The record of chrF, or of chrF++, of translations with one reference each."""
    made = [
        answer(number, one, "chrf", reference=two) for number, (one, two) in enumerate(zip(ours, theirs, strict=True))
    ]
    records = {record["metric"]: record for record in scores(collect(made), seed=seed)}
    return records["chrf++" if word_order else "chrf"]
