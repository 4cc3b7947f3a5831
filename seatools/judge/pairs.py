"""What a responses record asks a judge for, and the preference record that comes of what the judge says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seatools.judge.judging_text import Question, prompt_text
from seatools.judge.verdict import TIE, Verdict
from seatools.streams.records import BadRecord, Record, with_keys
from seatools.text.cleaning.exact_duplicates import exact_key

PAIRS = ("all", "best-worst", "first-two")
DIGITS = 4
"""Decimals of log-odds and points in records; batches change the sixth."""


def lang_of(record: Record) -> str | None:
    """The language tag of a record, if it has one."""
    lang = record.value.get("lang")
    return lang if isinstance(lang, str) and lang else None


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


@dataclass(frozen=True)
class Rating:
    """Answer i of a record, to be given points."""

    record: Record
    i: int

    @property
    def answer(self) -> tuple[str, str]:
        """(prompt, answer)."""
        return prompt_text(self.record.value["prompt"]), self.record.value["responses"][self.i]


Item = Comparison | Rating


def comparisons(record: Record, usable: Sequence[int], which: str = "all") -> Iterator[Comparison | BadRecord]:
    """The pairs of the `usable` answers that are compared (first-two: one pair, else every one).

    Fewer than two answers, and a pair of equal ones (but for white space and normal form), are rejects with a reason.
    """
    responses = record.value["responses"]
    chosen = list(usable)[:2] if which == "first-two" else usable
    if len(chosen) < 2:
        yield one_answer(record)
    for i, j in itertools.combinations(chosen, 2):
        if exact_key(responses[i]) == exact_key(responses[j]):
            yield BadRecord("identical answers", f"responses {i} and {j} are the same", where=record.where)
        else:
            yield Comparison(record, i, j)


def ratings(record: Record, usable: Sequence[int]) -> Iterator[Rating | BadRecord]:
    """The `usable` answers, to be given points; a record with fewer than two different ones is a reject."""
    if len(usable) < 2:
        yield one_answer(record)
    elif len({exact_key(record.value["responses"][i]) for i in usable}) < 2:
        yield BadRecord("identical answers", "all responses are the same", where=record.where)
    else:
        yield from (Rating(record, i) for i in usable)


def one_answer(record: Record) -> BadRecord:
    """The reject for a record without two answers to compare."""
    return BadRecord("one answer", "fewer than two usable responses", where=record.where, fix="sea sample -n 2")


@dataclass(frozen=True)
class Choice:
    """Answer `best` is preferred to `worst`; `said` is what the judge said of them."""

    best: int
    worst: int
    margin: float
    said: Mapping[str, Any]


def choose_compared(
    items: Sequence[Comparison], verdicts: Sequence[Verdict | None], which: str, min_margin: float
) -> Iterator[tuple[Comparison, Choice | str]]:
    """What becomes of each pair of one record: a choice, or the reason why not.

    best-worst: only the answers with the highest and the lowest mean margin over all their pairs are looked at; where
    these two were not compared, or the judge's own order of them says the opposite, there is no pair.
    """
    pairs = list(zip(items, verdicts, strict=True))
    if which == "best-worst" and len(pairs) > 1:
        pairs = _best_worst(pairs)
        if not pairs:
            yield items[0], "no verdict" if not any(verdicts) else "no best over worst"
    for item, verdict in pairs:
        if verdict is None:
            yield item, "no verdict"
        elif verdict.is_tie:
            yield item, "tie"
        elif not verdict.agrees:
            yield item, "orders disagree"
        elif verdict.margin < min_margin:
            yield item, f"margin below {min_margin:g}"
        else:
            best, worst = (item.i, item.j) if verdict.first_wins else (item.j, item.i)
            said = {
                "first": item.i,
                "second": item.j,
                "forward": round(verdict.forward, DIGITS),
                "backward": round(verdict.backward, DIGITS),
            }
            yield item, Choice(best, worst, verdict.margin, said)


def _best_worst(pairs: list[tuple[Comparison, Verdict | None]]) -> list[tuple[Comparison, Verdict | None]]:
    """The pair of the best and the worst answer; none where the judge's own order of the two says the opposite."""
    margins: dict[int, list[float]] = {}
    for item, verdict in pairs:
        if verdict is not None:
            margins.setdefault(item.i, []).append(verdict.signed_margin)
            margins.setdefault(item.j, []).append(-verdict.signed_margin)
    mean = {answer: math.fsum(own) / len(own) for answer, own in margins.items()}
    if len(mean) < 2:
        return []
    best = min(mean, key=lambda answer: (-mean[answer], answer))
    worst = min((answer for answer in mean if answer != best), key=lambda answer: (mean[answer], answer))
    return [
        (item, verdict)
        for item, verdict in pairs
        if {item.i, item.j} == {best, worst} and (verdict is None or verdict.first_wins == (item.i == best))
    ]


def choose_rated(record: Record, points: Mapping[int, float], which: str, min_margin: float) -> Iterator[Choice | str]:
    """The pairs of one record by the points of its answers (index -> points, NaN: none given), or why not.

    best-worst: most and fewest points, the first of equals. Two answers with the same points are no pair.
    """
    given = {answer: value for answer, value in points.items() if not math.isnan(value)}
    if len(given) < 2:
        yield "no verdict"
        return
    order = sorted(given, key=lambda answer: (-given[answer], answer))
    found = list(itertools.combinations(order, 2))
    if which == "best-worst":
        lowest = min(order, key=lambda answer: (given[answer], answer))
        found = [(order[0], lowest)] if lowest != order[0] else [(order[0], order[-1])]
    told = [given.get(answer) for answer in range(len(record.value["responses"]))]
    rounded = [None if value is None else round(value, DIGITS) for value in told]
    for best, worst in found:
        margin = given[best] - given[worst]
        if margin < TIE:
            yield "tie"
        elif margin < min_margin:
            yield f"margin below {min_margin:g}"
        else:
            yield Choice(best, worst, margin, {"first": best, "second": worst, "points": rounded})


def preference(record: Record, choice: Choice, judge: str) -> bytes:
    """The record's line with `chosen`, `rejected`, `margin` and `judgements` in place of `responses`."""
    responses = record.value["responses"]
    said = {"judge": judge, **choice.said}
    return preference_line(record, responses[choice.best], responses[choice.worst], said, margin=choice.margin)


def preference_line(
    record: Record, chosen: str, rejected: str, said: Mapping[str, Any], *, margin: float | None
) -> bytes:
    """`preference` of any two texts; answers to a prompt of messages are messages, too."""
    answers: list[Any] = [chosen, rejected]
    if not isinstance(record.value["prompt"], str):
        answers = [[{"role": "assistant", "content": text}] for text in answers]
    new: dict[str, Any] = {"chosen": answers[0], "rejected": answers[1]}
    if margin is not None:
        new["margin"] = round(margin, DIGITS)
    return with_keys(record.raw, new | {"judgements": dict(said)}, drop=("responses",))
