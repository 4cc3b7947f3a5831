"""Answers of a model to prompt records: seeds that depend on the record alone, text that continues its prompt.

The seed of answer k to a prompt is a hash of (seed, prompt tokens, k): the same record gets the same answer whatever
stands beside it in the input or the batch. For a string prompt the answer is the text that follows it exactly (its
leading space included), found by decoding prompt and answer together, because decoders treat the first piece of a
text differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seatools.engine.generate import Generated, PromptError, SamplingOptions, generate
from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Record, Rejects
from seatools.text.documents import Documents

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Answered:
    """A record with its answers."""

    record: Record
    responses: list[str]
    finish: list[str]


def answer_seed(seed: int, prompt: Sequence[int], number: int) -> int:
    """A 63-bit seed from (seed, prompt tokens, which answer)."""
    text = f"{seed}/{number}/{','.join(map(str, prompt))}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def tokenize_prompts(
    records: Sequence[Record], documents: Documents, *, room: int, system: str | None, rejects: Rejects
) -> list[tuple[Record, list[int]]]:
    """The records that can be answered, with their prompt tokens; at most `room` tokens each."""
    found = []
    for record in records:
        try:
            ids = [int(i) for i in documents.prompt_ids(_with_system(record.value, system))]
            if len(ids) > room:
                raise BadRecord("prompt too long", f"the prompt has {len(ids)} tokens, the model has room for {room}")
        except SeaError as error:
            bad = error if isinstance(error, BadRecord) else BadRecord("bad prompt", error.what, fix=error.fix)
            bad.where = bad.where or record.where
            rejects.take(bad, record.raw, record.path, record.line)
            continue
        found.append((record, ids))
    return found


def _with_system(value: dict[str, Any], system: str | None) -> dict[str, Any]:
    if system is None:
        return value
    prompt = value.get("prompt", value.get("messages"))
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt or [])
    if turns and turns[0].get("role") == "system":
        return value
    if value.get("messages") and turns and turns[-1].get("role") == "assistant":
        turns = turns[:-1]
    return {"prompt": [{"role": "system", "content": system}, *turns]}


def answer(
    model: PreTrainedModel,
    prompts: Sequence[tuple[Record, list[int]]],
    documents: Documents,
    options: SamplingOptions,
    *,
    num: int,
    seed: int,
    batch_tokens: int,
    advance: Callable[[int], Any] | None = None,
) -> list[Answered]:
    """`num` answers to each prompt, in order."""
    decode = documents.tokenizer.decode
    rows = [ids for _, ids in prompts for _ in range(num)]
    seeds = [answer_seed(seed, ids, number) for _, ids in prompts for number in range(num)]
    try:
        made = generate(model, rows, options, seeds=seeds, batch_tokens=batch_tokens, decode=decode, progress=advance)
    except PromptError as error:
        record = prompts[error.row // num][0]
        raise BadRecord("bad prompt", error.what, where=record.where, fix=error.fix) from error
    answered = []
    for place, (record, ids) in enumerate(prompts):
        own = made[place * num : (place + 1) * num]
        continues = isinstance(record.value.get("prompt"), str) and "messages" not in record.value
        texts = [_text(decode, ids, item, continues) for item in own]
        answered.append(Answered(record, texts, [item.finish for item in own]))
    return answered


def _text(decode: Callable[[list[int]], str], prompt: list[int], made: Generated, continues: bool) -> str:
    alone = decode(made.ids)
    text = alone
    if continues:
        before, whole = decode(prompt), decode(prompt + made.ids)
        text = whole[len(before) :] if whole.startswith(before) else alone
    if made.text is not None and made.text.startswith(alone):
        text += made.text[len(alone) :]  # what a stop string left of the token it began in
    if made.finish == "length":
        text = text.rstrip("\ufffd")  # cut off by length, perhaps inside a character
    return text if continues else text.strip()
