"""The comparisons that a responses record asks for, and the preference record that a verdict makes of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seatools.judge.both_orders import Question, Verdict, readings
from seatools.streams.records import BadRecord, Record, with_keys
from seatools.text.documents import Documents


@dataclass(frozen=True)
class Comparison:
    """Answers i < j of a record, to be compared."""

    record: Record
    i: int
    j: int

    @property
    def question(self) -> Question:
        responses = self.record.value["responses"]
        return Question(prompt_text(self.record.value["prompt"]), responses[self.i], responses[self.j])


def prompt_text(prompt: str | list[dict[str, Any]]) -> str:
    """A prompt as one text: the string, or its turns by role (a single user turn without its role)."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)


def comparisons(record: Record) -> Iterator[Comparison | BadRecord]:
    """Every pair of a record's answers; a pair with an empty or the same answer is a reject with its reason."""
    responses = record.value["responses"]
    if len(responses) < 2:
        yield BadRecord("one answer", "fewer than two responses", where=record.where, fix="sea sample -n 2")
    for i, j in itertools.combinations(range(len(responses)), 2):
        first, second = responses[i].strip(), responses[j].strip()
        if not first or not second:
            yield BadRecord("empty answer", f"response {j if first else i} is empty", where=record.where)
        elif first == second:
            yield BadRecord("identical answers", f"responses {i} and {j} are the same", where=record.where)
        else:
            yield Comparison(record, i, j)


def fitting(
    wanted: Sequence[Comparison], documents: Documents, criteria: str, positions: int, *, calibrate: bool
) -> tuple[list[Comparison], int]:
    """The comparisons that the judge can read within its `positions`, and how many it cannot."""
    found = []
    for item in wanted:
        asked = [item.question]
        if calibrate:
            asked += [Question(asked[0].prompt, same, same) for same in (asked[0].first, asked[0].second)]
        size = max(len(doc.ids) for question in asked for doc in readings(documents, question, criteria, (False,)))
        if size <= positions:
            found.append(item)
    return found, len(wanted) - len(found)


def preference(comparison: Comparison, verdict: Verdict, judge_digest: str) -> bytes:
    """The record's line with `chosen`, `rejected`, `margin` and `judgements` in place of `responses`."""
    record, value = comparison.record, comparison.record.value
    order = (comparison.i, comparison.j) if verdict.first_wins else (comparison.j, comparison.i)
    chosen, rejected = (value["responses"][k] for k in order)
    if not isinstance(value["prompt"], str):
        chosen, rejected = ([{"role": "assistant", "content": text}] for text in (chosen, rejected))
    new = {
        "chosen": chosen,
        "rejected": rejected,
        "margin": round(verdict.margin, 6),
        "judgements": {
            "judge": judge_digest[:16],
            "first": comparison.i,
            "second": comparison.j,
            "forward": round(verdict.forward, 6),
            "backward": round(verdict.backward, 6),
        },
    }
    return with_keys(record.raw, new, drop=("responses",))
