"""Answers of a model to prompt records: seeds that depend on the record alone, text that continues its prompt.

The seed of answer k to a prompt is a hash of (seed, prompt tokens, k): the same record gets the same answer whatever
stands beside it in the input or the batch. For a string prompt the answer is the text that follows it exactly (its
leading space included), found by decoding it after another text, because decoders treat the first piece of a text
differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seatools.engine.generate import Decode, Generated, PromptError, SamplingOptions, generate
from seatools.sample.prompts import prompt_of
from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Record, Rejects
from seatools.text.documents import Documents
from seatools.text.tokenizer import Tokenizer

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
            prompt = _with_system(prompt_of(record.value), system)
            ids = [int(i) for i in documents.prompt_ids({"prompt": prompt})]
            if len(ids) > room:
                what = f"the prompt has {len(ids)} tokens, the model has room for {room}"
                raise BadRecord("prompt too long", what, fix="lower --max-new-tokens, or --on-error skip")
        except SeaError as error:
            rejects.refuse(record, error, reason="bad prompt")
            continue
        found.append((record, ids))
    return found


def _with_system(prompt: str | list[dict[str, Any]], system: str | None) -> str | list[dict[str, Any]]:
    """The prompt with a system turn where none is; a string becomes the user's turn after it."""
    if system is None:
        return prompt
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return turns if turns[0]["role"] == "system" else [{"role": "system", "content": system}, *turns]


def answer(
    model: PreTrainedModel,
    prompts: Sequence[tuple[Record, list[int]]],
    documents: Documents,
    options: SamplingOptions,
    *,
    num: int,
    seed: int,
    batch_tokens: int,
    continues: bool = True,
    advance: Callable[[int], Any] | None = None,
) -> list[Answered]:
    """`num` answers to each prompt, in order.

    Answers to a string are what follows it exactly; answers in a chat (to messages; to all with `continues=False`)
    stand alone, without white space around them.
    """
    decode = continuation_decoder(documents.tokenizer)
    rows = [ids for _, ids in prompts for _ in range(num)]
    seeds = [answer_seed(seed, ids, number) for _, ids in prompts for number in range(num)]
    try:
        made = generate(model, rows, options, seeds=seeds, batch_tokens=batch_tokens, decode=decode, progress=advance)
    except PromptError as error:
        record = prompts[error.row // num][0]
        raise BadRecord("bad prompt", error.what, where=record.where, fix=error.fix) from error
    answered = []
    for place, (record, _) in enumerate(prompts):
        own = made[place * num : (place + 1) * num]
        texts = [_text(decode, item) for item in own]
        if not (continues and isinstance(prompt_of(record.value), str)):
            texts = [text.strip() for text in texts]
        answered.append(Answered(record, texts, [item.finish for item in own]))
    return answered


def continuation_decoder(tokenizer: Tokenizer) -> Decode:
    """Decodes what follows another text: SentencePiece takes one space off the beginning of a text of its own."""
    anchor = tokenizer.encode("a")
    before = tokenizer.decode(anchor)

    def decode(ids: list[int]) -> str:
        whole = tokenizer.decode(anchor + ids)
        return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(ids)

    return decode


def _text(decode: Decode, made: Generated) -> str:
    """The answer's text, without the character that its length may have cut it in.

    Byte fallback of a tokenizer.json decodes a run of bytes whole or not at all, each byte as U+FFFD; without the
    torn character's bytes (three at most) the others are read again.
    """
    text = decode(made.ids) if made.text is None else made.text
    if made.finish != "length" or not text.endswith("\ufffd"):
        return text
    shorter = (decode(made.ids[: len(made.ids) - cut]).rstrip("\ufffd") for cut in range(min(4, len(made.ids))))
    return max(shorter, key=len)
