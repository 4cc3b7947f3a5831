"""Prompts to answer as tokens, for generation, translation and the first turn of a judged conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seatools.eval.items import GenerationItem, Item, JudgeItem
from seatools.eval.requests import AnswerRequest, Config, Setup
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord


def answer_requests(items: Sequence[Item], config: Config, setup: Setup) -> list[AnswerRequest]:
    """The prompts that leave room for their answers; the others go to `setup.refuse`."""
    found = []
    for item in items:
        assert isinstance(item, GenerationItem | JudgeItem)
        prompt = item.messages(()) if isinstance(item, JudgeItem) else item.prompt
        turns = len(item.turns) if isinstance(item, JudgeItem) else 1
        try:
            ids = prompt_tokens(prompt, setup, room_for(item.max_new_tokens, setup, turns))
        except BadRecord as error:
            setup.refuse(item, error)
            continue
        expected = dict(item.expected) if isinstance(item, GenerationItem) else {}
        found.append(
            AnswerRequest(
                item=item, config=config, ids=ids, stop=tuple(item.stop), max_new_tokens=item.max_new_tokens,
                expected=expected, is_chat=not isinstance(prompt, str), messages=prompt,
            )
        )  # fmt: skip
    return found


def room_for(max_new_tokens: int, setup: Setup, turns: int = 1) -> int | None:
    """The longest prompt that leaves room for the answers; None: any. Raises UsageError where there is none at all."""
    if setup.positions is None:
        return None
    room = setup.positions - turns * max_new_tokens
    if room < 1:
        times = f"{turns} answers of " if turns > 1 else ""
        raise UsageError(
            f"{times}--max-new-tokens {max_new_tokens} leaves no room in the model's {setup.positions} positions",
            fix="a smaller --max-new-tokens",
        )
    return room


def prompt_tokens(prompt: str | Sequence[Mapping[str, Any]], setup: Setup, room: int | None) -> tuple[int, ...]:
    """The tokens to generate from, BOS first if the tokenizer has one. Raises BadRecord for what cannot be asked."""
    if not isinstance(prompt, str) and setup.documents.template is None:
        raise SeaError(
            f"this is asked as a chat, and {setup.tokenizer.path} has no chat template",
            fix="give one with --chat-template FILE, or take another model",
        )
    try:
        record = {"prompt": prompt if isinstance(prompt, str) else [dict(message) for message in prompt]}
        ids = tuple(int(id_) for id_ in setup.documents.prompt_ids(record))
    except SeaError as error:
        raise BadRecord("bad prompt", error.what, fix=error.fix) from error
    if room is not None and len(ids) > room:
        raise BadRecord(
            "too long",
            f"the prompt has {len(ids):,} tokens, the model has room for {room:,}",
            fix="fewer --shots or --max-new-tokens, or --on-error skip",
        )
    return ids
