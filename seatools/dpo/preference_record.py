"""A preference record in any of TRL's forms, as a prompt and two answers.

Explicit: `prompt`, `chosen`, `rejected`, strings or messages. Implicit: `chosen` and `rejected` alone, which begin
alike: messages are divided before the first turn that differs, texts before the first character that does, and before
the space in front of it, as TRL's `extract_prompt` does. Answers that repeat the messages of the prompt, and a string
`prompt` beside whole conversations (ultrafeedback_binarized), are read as what they mean. What is no pair is a reject
with its reason, never another pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from seatools.streams.records import BadRecord

if TYPE_CHECKING:
    from seatools.text.chat import ChatTemplate

Turns = list[dict[str, Any]]
_ONE_PROMPT = "a pair is two answers to one prompt"


class Sides(NamedTuple):
    """One prompt and its two answers: strings, or messages."""

    prompt: str | Turns
    chosen: str | Turns
    rejected: str | Turns


def sides_of(value: Mapping[str, Any]) -> Sides:
    """What a checked record (`check_preference`) compares. Raises BadRecord for what is no pair."""
    chosen, rejected = value["chosen"], value["rejected"]
    if type(chosen) is not type(rejected):
        raise BadRecord("mixed answers", "one answer is a string, the other messages", fix="give both in one form")
    prompt = value.get("prompt")
    if prompt is None:
        sides = _divided_turns(chosen, rejected) if isinstance(chosen, list) else _divided_text(chosen, rejected)
    elif isinstance(prompt, str) and isinstance(chosen, list):
        sides = _divided_turns(chosen, rejected)
        said = {str(turn["content"]).strip() for turn in sides.prompt if isinstance(turn, dict)}
        if prompt.strip() not in said:
            raise BadRecord("prompts differ", '"prompt" is no turn of the conversations', fix=_ONE_PROMPT)
    else:
        if isinstance(prompt, list) and isinstance(chosen, list):
            again = [answer[: len(prompt)] == prompt for answer in (chosen, rejected)]
            if all(again):
                chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
        sides = Sides(prompt, chosen, rejected)
    _check_answers(sides)
    return sides


def _divided_turns(chosen: Turns, rejected: Turns) -> Sides:
    """Two conversations, divided before the first turn that differs."""
    common = 0
    for one, other in zip(chosen[:-1], rejected[:-1], strict=False):
        if one != other:
            break
        common += 1
    if common == 0:
        raise BadRecord("prompts differ", "the conversations have no turn in common", fix=_ONE_PROMPT)
    return Sides(chosen[:common], chosen[common:], rejected[common:])


def _divided_text(chosen: str, rejected: str) -> Sides:
    """Two texts, divided before the first character that differs, and the space before it."""
    most = min(len(chosen), len(rejected)) - 1  # an answer keeps a character
    common = next((i for i in range(most) if chosen[i] != rejected[i]), max(most, 0))
    if 0 < common < len(chosen) and chosen[common - 1] == " " and chosen[common] != rejected[common]:
        common -= 1
    if common == 0:
        raise BadRecord("prompts differ", "the texts begin differently, and there is no prompt", fix=_ONE_PROMPT)
    return Sides(chosen[:common], chosen[common:], rejected[common:])


def _check_answers(sides: Sides) -> None:
    for name in ("chosen", "rejected"):
        answer = getattr(sides, name)
        if isinstance(answer, str):
            if not answer.strip():
                raise BadRecord("empty answer", f'field "{name}" is empty')
            continue
        if not answer or answer[0]["role"] != "assistant":
            role = answer[0]["role"] if answer else "nothing"
            raise BadRecord("prompts differ", f"{name} begins with {role}, not with assistant", fix=_ONE_PROMPT)
        if not any(str(turn["content"]).strip() for turn in answer if turn["role"] == "assistant"):
            raise BadRecord("empty answer", f'field "{name}" is empty')
    if sides.chosen == sides.rejected:
        raise BadRecord("identical answers", "chosen and rejected are the same")


def check_system_kept(template: ChatTemplate | None, prompt: str | Turns) -> None:
    """Refuse a prompt whose system turn the template leaves out: the pair was judged with it (template of Gemma 1)."""
    if template is None or isinstance(prompt, str):
        return
    whole = template.render(prompt) if any(turn["role"] == "system" for turn in prompt) else ""
    for place, turn in enumerate(prompt):
        if turn["role"] != "system" or not turn["content"].strip():
            continue
        # Other words in its place, not none: a template may have words of its own for a prompt without a system turn.
        other = {**turn, "content": turn["content"] + "x"}
        if template.render([*prompt[:place], other, *prompt[place + 1 :]]) == whole:
            raise BadRecord(
                "system turn dropped", f"the chat template of {template.path} leaves out the system turn",
                fix="another --chat-template, or the system text in the user's turn",
            )  # fmt: skip
