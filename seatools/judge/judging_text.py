"""What a judge reads, as one text: instructions, prompt, answers, and an end that a label continues or answers.

All of it is one user turn where there is a chat template, so nothing depends on system turns, which some templates drop
or refuse. The text up to the end of the first answer is the same in several readings, and is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seatools.judge.instructions import Instructions


@dataclass(frozen=True)
class Question:
    """One comparison to make: a prompt as text, and two answers."""

    prompt: str
    first: str
    second: str

    @property
    def swapped(self) -> Question:
        """The other order."""
        return Question(self.prompt, self.second, self.first)


def prompt_text(prompt: str | list[dict[str, Any]]) -> str:
    """A prompt as one text: the string, or its turns by role (a single user turn without its role)."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)


def comparison_text(words: Instructions, question: Question, labels: tuple[str, str], *, chat: bool) -> str:
    """What the judge reads of `question`, in the order that it has, up to the label."""
    first, second = labels
    end = words.ask.replace("{first}", first).replace("{second}", second) if chat else words.better
    return (
        f"{words.criteria}\n\n{words.question}:\n{question.prompt.strip()}\n\n{words.answer} {first}:\n"
        f"{question.first.strip()}\n\n{words.answer} {second}:\n{question.second.strip()}\n\n{end}"
    )


def rating_text(words: Instructions, prompt: str, answer: str, *, chat: bool) -> str:
    """What the judge reads of one answer, up to the points."""
    end = words.ask_score if chat else words.score
    return f"{words.points}\n\n{words.question}:\n{prompt.strip()}\n\n{words.answer}:\n{answer.strip()}\n\n{end}"
