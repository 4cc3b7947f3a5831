"""`--judge`: a second model says how good the answers are, once they are all there.

Each turn of a judged answer is a sample of its own (SeaBench: one call a turn, papers.md 2.7), scored by its `[[n]]`;
of single answers the verdict goes beside the answer, the first that the judge writes: [[safe]], [[unsafe]] or
[[invalid]] of those to harmful questions, [[refused]] or [[answered]] where refusing may be right. The judge is a local
model, a server (URL#MODEL), or a file of recorded judgements, a JSON object a line: `id` or `item` of the question,
`lang` and `turn` (from 1) where there are several, and `text` (the judge's words), `mark` or `verdict`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seatools.eval.answer_requests import prompt_tokens, room_for
from seatools.eval.items import GenerationItem, Item, JudgeItem, Message
from seatools.eval.judge_prompts import judge_messages
from seatools.eval.judge_verdicts import VERDICT_PROMPTS, VERDICTS_OF, verdict_in
from seatools.eval.requests import AnswerRequest, Request, Setup, digest16
from seatools.eval.samples import Sample, item_digest
from seatools.eval.task_parts import TaskFile
from seatools.eval.tasks import Asked
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord, RecordReader

_VERDICT_TOKENS = 512


def can_be_judged(task: TaskFile) -> bool:
    """Whether a judge may say how good the answers of a task are."""
    return task.type == "judge" or task.scoring in VERDICT_PROMPTS


def is_judged(group: Asked, judge: str | None) -> bool:
    """Whether the answers of a task are judged in this run. Raises UsageError where they have to be and nobody does."""
    if group.file.type == "judge":
        if judge is None:
            raise UsageError(f"{group.task.name} needs a judge", fix="--judge MODEL, --judge URL#MODEL or --judge FILE")
        return True
    return group.file.scoring in VERDICT_PROMPTS and judge is not None


@dataclass(frozen=True)
class JudgeName:
    """`--judge` as it is meant."""

    text: str
    kind: str
    """model, server or file."""
    digest: str | None
    """Of the model's folder or the file."""

    @property
    def config(self) -> dict[str, Any]:
        """What it adds to the config of samples."""
        name = self.text if self.kind == "server" else Path(self.text).name
        return {"judge": name} | ({} if self.digest is None else {"judge_digest": self.digest[:16]})


def judge_name(text: str) -> JudgeName:
    """Raises UsageError for what is no judge."""
    from seatools.streams.digests import folder_digest, sha256_file

    if text.startswith(("http://", "https://")):
        if not text.partition("#")[2]:
            raise UsageError(f"--judge {text} names no model", fix=f"--judge {text}#MODEL")
        return JudgeName(text, "server", None)
    path = Path(text)
    if path.is_dir():
        return JudgeName(text, "model", folder_digest(path))
    if path.is_file():
        return JudgeName(text, "file", sha256_file(path))
    raise UsageError(f"--judge {text}: neither a model folder, a file of judgements, nor a URL")


@dataclass(frozen=True)
class Judgement:
    """One question to the judge: about which answer, and what is put into the sample beside the judge's words."""

    request: Request
    item: GenerationItem
    answer: Sample
    turn: int


def judgements(group: Asked, requests: Sequence[Request], answers: Sequence[Sample]) -> Iterator[Judgement]:
    """The questions about the answers of one task and language, `answers` in the order of `requests`."""
    for request, answer in zip(requests, answers, strict=True):
        own = request.item
        if isinstance(own, JudgeItem):
            texts = answer.result["answers"]
            for turn in range(len(own.turns)):
                assert group.file.judge is not None
                asked = judge_messages(group.file, own, turn, texts)
                item = _item(own, asked, group.file.judge.max_new_tokens, "mark", turn, len(own.turns))
                yield Judgement(request, item, answer, turn)
        else:
            scoring = group.file.scoring
            text = VERDICT_PROMPTS[scoring].format(question=_question(own), answer=answer.result["text"])
            item = _item(own, ({"role": "user", "content": text},), _VERDICT_TOKENS, scoring, 0, 1)
            yield Judgement(request, item, answer, 0)


def _question(item: Item) -> str:
    prompt = getattr(item, "prompt", "")
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def _item(own: Item, asked: Sequence[Message], tokens: int, scoring: str, turn: int, turns: int) -> GenerationItem:
    return GenerationItem(
        task=own.task, lang=own.lang, index=own.index * turns + turn, id=own.id, where=own.where, scoring=scoring,
        item=own.item if turns == 1 else item_digest([own.item, turn]), prompt=tuple(asked), stop=(),
        max_new_tokens=tokens,
    )  # fmt: skip


def judge_requests(asked: Sequence[Judgement], config: Mapping[str, Any], setup: Setup) -> list[AnswerRequest]:
    """The judgements as prompts for the judge, whose `setup` this is."""
    found = []
    for one in asked:
        item = one.item
        assert not isinstance(item.prompt, str)
        try:
            ids = prompt_tokens(item.prompt, setup, room_for(item.max_new_tokens, setup))
        except BadRecord as error:
            raise SeaError(f"the judge cannot be asked: {error.what}", where=item.where, fix=error.fix) from error
        words = VERDICT_PROMPTS.get(item.scoring)
        asked_with = {} if words is None else {"judge_words": digest16(words)}
        found.append(
            AnswerRequest(
                item=item, config={**one.request.config, **config, **asked_with}, ids=ids, stop=(), expected={},
                is_chat=True, max_new_tokens=item.max_new_tokens, messages=item.prompt,
            )
        )  # fmt: skip
    return found


def judged_result(one: Judgement, said: Mapping[str, Any]) -> dict[str, Any]:
    """The sample's result of what the judge said (`text`, `finish`), with what the answer's scoring needs."""
    if one.item.scoring == "mark":
        return {"text": said["text"], "finish": said["finish"], "turn": one.turn + 1}
    verdict = verdict_in(said["text"], one.item.scoring)
    result = {**one.answer.result, "judge_text": said["text"]}
    return result | ({"verdict": verdict} if verdict is not None else {})


class RecordedJudgements:
    """A file of judgements."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: dict[tuple[str, str | None, int], dict[str, Any]] = {}
        for record in RecordReader([path]):
            value = record.value
            name = value.get("item", value.get("id"))
            turn, lang = value.get("turn", 1), value.get("lang")
            if name is None or not isinstance(turn, int) or not (lang is None or isinstance(lang, str)):
                raise SeaError("a judgement needs `id` (or `item`), and `turn` as a number", where=record.where)
            self._found[str(name), lang, turn] = _said(value, record.where)

    def said(self, asked: Sequence[Judgement]) -> list[dict[str, Any]]:
        """What was recorded of each. Raises SeaError for answers without a judgement."""
        found = [self._of(one) for one in asked]
        missing = [one for one, said in zip(asked, found, strict=True) if said is None]
        if missing:
            first = missing[0]
            name = first.item.id if first.item.id is not None else first.request.item.item
            raise SeaError(
                f"{len(missing):,} of {len(asked):,} answers have no judgement; the first is id {name!r}, "
                f"{first.item.lang}, turn {first.turn + 1}",
                where=self.path,
            )
        return [said for said in found if said is not None]

    def _of(self, one: Judgement) -> dict[str, Any] | None:
        """Raises SeaError for a verdict of another task."""
        names = [str(name) for name in (one.request.item.item, one.item.id) if name is not None]
        keys = [(name, lang, one.turn + 1) for name in names for lang in (one.item.lang, None)]
        found = next((self._found[key] for key in keys if key in self._found), None)
        known = VERDICTS_OF.get(one.item.scoring, ())
        if found is not None and "verdict" in found and found["verdict"] not in known:
            wanted = f"one of {', '.join(known)}" if known else "a mark, or text with [[n]]"
            raise SeaError(f"the verdict {found['verdict']!r} of {keys[0][0]} is not {wanted}", where=self.path)
        return found


def _said(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    if isinstance(value.get("text"), str):
        said: dict[str, Any] = {"text": value["text"], "finish": "stop"}
    elif isinstance(value.get("mark"), int | float) and not isinstance(value.get("mark"), bool):
        said = {"text": f"[[{value['mark']:g}]]", "finish": "stop"}
    elif isinstance(value.get("verdict"), str):
        said = {"text": f"[[{value['verdict']}]]", "finish": "stop", "verdict": value["verdict"]}
    else:
        raise SeaError("a judgement needs `text`, `mark` or `verdict`", where=where)
    return said


def as_judged(group: Asked) -> Asked:
    """A judged task: its answers are kept, and what the judge says of them is scored."""
    return replace(group, judged=True, items=tuple(replace(item, scoring="answer") for item in group.items))
