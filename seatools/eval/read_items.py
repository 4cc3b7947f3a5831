"""From data to items: every row checked and rendered before a model is loaded, in the order of the data.

Cost: about 0.3 ms a row. Bad rows go to the Rejects policy, named by file and line; ids that stand twice
and questions that are their own shots are among them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seatools.eval.items import (
    ChoiceItem,
    GenerationItem,
    Item,
    JudgeItem,
    Message,
    PerplexityItem,
    Prompt,
    TokenizerItem,
    TranslationItem,
)
from seatools.eval.line_pairs import Pair, aligned, chosen_pairs, sentence_pairs
from seatools.eval.questions import Question, given, questions_of
from seatools.eval.samples import item_digest
from seatools.eval.shots import SolvedExamples, solved_examples
from seatools.eval.sources import Source
from seatools.eval.task_parts import TaskFile
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord, Record, Rejects, check_messages


def shots_asked(task: TaskFile, shots: Sequence[Source], num_shots: int | None) -> int:
    """How many shots: `num_shots`, or the task's own number. Raises UsageError where there is no data for them."""
    if num_shots is None:
        num_shots = task.shots.count
    if num_shots and not task.takes_shots:
        raise UsageError(f"no shots in the task {task.name}")
    if num_shots and not shots:
        raise UsageError(
            f"{task.name} takes {num_shots} shots, and no data is given for them",
            fix="--shots-data LANG=FILE, or --shots 0 for another protocol",
        )
    return num_shots


def read_items(
    task: TaskFile, sources: Sequence[Source], shots: Sequence[Source] = (), *, num_shots: int | None = None,
    chat: bool = False, limit: int | None = None, max_new_tokens: int | None = None,
    system: str | None = None, pairs: Sequence[Pair] | None = None, rejects: Rejects | None = None,
) -> list[Item]:  # fmt: skip
    """All items of a task, language by language, in the order of the data.

    `num_shots` None: as many as the task says. `chat`: prompts are messages, shots its turns. `limit`: good rows of
    each source (of each pair, for aligned lines). `max_new_tokens`, `system` (the system turn of a chat) None:
    the task's. `pairs`: of aligned lines, the translations wanted; None: all.
    Raises UsageError for a language without words, for too few shots; SeaError where a language has nothing left;
    BadRecord for a bad row where `rejects` says so (default).
    """
    reading = _Reading(task, shots, num_shots, chat, limit, max_new_tokens, system, rejects or Rejects())
    return reading.items(sources, pairs)


class _Reading:
    """One call of `read_items`."""

    def __init__(
        self, task: TaskFile, shots: Sequence[Source], num_shots: int | None, chat: bool, limit: int | None,
        max_new_tokens: int | None, system: str | None, rejects: Rejects,
    ) -> None:  # fmt: skip
        self.system = system
        self.task, self.shots, self.limit, self.rejects = task, shots, limit, rejects
        self.chat = chat or task.chat == "required"
        self.num_shots = shots_asked(task, shots, num_shots)
        self.max_new_tokens = max_new_tokens or task.max_new_tokens
        self.counts: Counter[str] = Counter()
        self.seen: dict[tuple[str, Any], str] = {}
        self.repeats: Counter[tuple[str, str]] = Counter()

    def items(self, sources: Sequence[Source], pairs: Sequence[Pair] | None) -> list[Item]:
        if self.task.type == "translation":
            items = list(self._translations(sources, pairs))
        else:
            for source in sources:
                self.task.check_language(source.lang)
            items = [item for source in sources for item in self._of_source(source)]
        for lang in dict.fromkeys(source.lang for source in sources):
            if not any(lang == item.lang or self.task.type == "translation" for item in items):
                raise SeaError(f"no question left to score for {self.task.name}, {lang}")
        return items

    def _of_source(self, source: Source) -> Iterator[Item]:
        solved = solved_examples(self.task, self.shots, source.lang, self.num_shots)
        order = _OptionOrder(self.task, solved)
        number = 0
        for record in source.records:
            if self.limit is not None and number >= self.limit:
                return
            for made in self._of_record(record, source.lang, solved, order):
                if self.limit is None or number < self.limit:
                    number += 1
                    yield made

    def _of_record(self, record: Record, lang: str, solved: SolvedExamples, order: _OptionOrder) -> Iterator[Item]:
        found = []
        try:
            for question in questions_of(self.task, record, lang):
                self._refuse_repeat(question, lang)
                examples, question, description = order.of(question)
                found.append(self._item(question, lang, solved, examples, description))
        except BadRecord as error:
            self.rejects.refuse(record, error)
            return
        yield from found

    def _refuse_repeat(self, question: Question, lang: str) -> None:
        own = question.id
        if own is None:
            return
        before = self.seen.setdefault((lang, own), question.where)
        if before != question.where:
            raise BadRecord("duplicate id", f"the id {own!r} stands twice; first at {before}", where=question.where)

    def _item(
        self, question: Question, lang: str, solved: SolvedExamples, examples: list[Question], description: str
    ) -> Item:
        task, type_ = self.task, self.task.type
        content = dict(question.content)
        if task.choice is not None and task.choice.shuffle is not None:
            content["order"] = question.options  # another order of options is another question
        common = self._common(content, lang, question.where, question.id)
        if type_ in ("perplexity", "tokenizer"):
            text = question.content["text"]
            if not text.strip():
                raise BadRecord("empty text", 'field "text" is empty')
            return (TokenizerItem if type_ == "tokenizer" else PerplexityItem)(**common, text=text)
        if type_ == "judge":
            return self._judged(question, common)
        prompt = self._prompt(question, solved, examples, description)
        if type_ == "choice":
            delimiter = task.delimiter if isinstance(prompt, str) else ""
            return ChoiceItem(
                **common, prompt=prompt, choices=question.choices, gold=question.gold, delimiter=delimiter
            )
        return GenerationItem(**common, **self._generation(question.values, prompt), expected=question.expected)

    def _common(self, content: Mapping[str, Any], lang: str, where: str, id_: str | int | None) -> dict[str, Any]:
        try:
            once = item_digest(content)
        except TypeError as error:  # rows of the hub: half characters, dates, huge numbers
            raise BadRecord("bad column", f"the row holds what JSON cannot: {error}", where=where) from None
        occurrence = self.repeats[lang, once]
        self.repeats[lang, once] += 1
        index = self.counts[lang]
        self.counts[lang] += 1
        return {
            "task": self.task.name, "lang": lang, "index": index, "id": id_, "where": where,
            "item": item_digest(content, occurrence) if occurrence else once, "scoring": self.task.scoring,
        }  # fmt: skip

    def _generation(self, values: Mapping[str, Any], prompt: Prompt) -> dict[str, Any]:
        # A chat turn ends by itself; a line end is no stop there.
        stop = tuple(template.render(values) for template in self.task.stop) if isinstance(prompt, str) else ()
        if any(not text for text in stop):
            raise UsageError("a stop string is empty", where=self.task.where)
        return {"prompt": prompt, "stop": stop, "max_new_tokens": self.max_new_tokens}

    def _prompt(self, question: Question, solved: SolvedExamples, examples: list[Question], description: str) -> Prompt:
        task = self.task
        if task.messages is not None:
            messages = task.messages.value(question.values)
            if isinstance(messages, list):
                check_messages(messages, "prompt")
                if examples:
                    raise BadRecord(
                        "shots before messages", "--shots go before string prompts only",
                        fix="put them into the messages",
                    )  # fmt: skip
                return tuple(messages)
            if task.prompt is None:
                raise BadRecord("no messages", f"the row gives no list of messages, and {task.name} has no prompt")
        head = ""
        if task.description is not None:
            more = {"shots": len(examples), "chat": self.chat, "description": description}
            head = question.render(task.description, **more)
            head += task.shots.separator if head else ""
        if not self.chat:
            return head + solved.text(examples) + question.prompt
        asked = question.prompt if task.chat_prompt is None else question.render(task.chat_prompt)
        return _chat(self._system(question.values), head, solved.turns(examples), asked)

    def _system(self, values: Mapping[str, Any]) -> str:
        if self.system is not None:
            return self.system
        return self.task.system.render(values) if self.task.system is not None else ""

    def _judged(self, question: Question, common: dict[str, Any]) -> JudgeItem:
        judge = self.task.judge
        assert judge is not None
        aspect = judge.aspect_of.value(question.values) if judge.aspect_of is not None else None
        if judge.aspects and aspect not in judge.aspects:
            raise BadRecord("bad label", f"the kind {aspect!r} is none of {', '.join(judge.aspects)}")
        fields = {**question.content, "aspects": judge.aspects.get(str(aspect), "")}
        turns = tuple(str(user.value(question.values)) for user in judge.users)
        system = self._system(question.values)
        return JudgeItem(
            **common, turns=turns, system=system or None, stop=(), max_new_tokens=self.max_new_tokens, fields=fields
        )

    def _translations(self, sources: Sequence[Source], pairs: Sequence[Pair] | None) -> Iterator[Item]:
        lines = aligned(sources)
        solved_lines = aligned(self.shots) if self.num_shots else {}
        for lang in lines:
            self.task.check_language(lang)
        for pair in chosen_pairs(list(lines), pairs):
            solved = self._solved_pairs(solved_lines, pair)
            for record, source, target in sentence_pairs(lines, pair, self.rejects, self.limit):
                values = self._pair_values(pair, source, target)
                yield self._translation(record, pair, values, solved)

    def _pair_values(self, pair: Pair, source: str, target: str) -> dict[str, Any]:
        words = [given(self.task, lang) for lang in pair]
        return {
            "source": source, "target": target, "source_lang": words[0]["lang"], "target_lang": words[1]["lang"],
            "source_words": words[0]["words"], "target_words": words[1]["words"],
        }  # fmt: skip

    def _solved_pairs(self, lines: dict[str, dict[int, Record]], pair: Pair) -> list[dict[str, Any]]:
        if not self.num_shots:
            return []
        (own,) = chosen_pairs(list(lines), [pair])
        found = sentence_pairs(lines, own, Rejects("skip"), self.num_shots)
        solved = [self._pair_values(pair, source, target) for _, source, target in found]
        if len(solved) < self.num_shots:
            raise UsageError(f"{len(solved)} shots for {'-'.join(pair)}, --shots asks for {self.num_shots}")
        return solved

    def _translation(
        self, record: Record, pair: Pair, values: dict[str, Any], solved: list[dict[str, Any]]
    ) -> TranslationItem:
        task = self.task
        assert task.prompt is not None
        if any(one["source"] == values["source"] for one in solved):
            raise UsageError(f"{record.where}: this sentence is one of the shots", fix="give --shots-data other files")
        prompt: Prompt
        if self.chat:
            template = task.chat_prompt or task.prompt
            turns: list[Message] = []
            for one in solved:
                turns.append({"role": "user", "content": template.render(one)})
                turns.append({"role": "assistant", "content": one["target"]})
            told = self._system(values)
            system = [{"role": "system", "content": told}] if told else []
            prompt = (*system, *turns, {"role": "user", "content": template.render(values)})
        else:
            prefix = [
                f"{task.prompt.render(one)}{task.delimiter}{one['target']}{task.shots.separator}" for one in solved
            ]
            prompt = "".join(prefix) + task.prompt.render(values)
        content = {"source": values["source"], "target": values["target"]}
        common = self._common(content, "-".join(pair), record.where, record.line)
        return TranslationItem(
            **common, **self._generation(values, prompt), expected={"reference": values["target"]},
            source_lang=pair[0], target_lang=pair[1],
        )  # fmt: skip


class _OptionOrder:
    """The order of options: that of the data, or, with `shuffle`, SeaExam's: one generator goes through the questions
    and shuffles the options of the shots (again for every question), then the question's, then draws a description."""

    def __init__(self, task: TaskFile, solved: SolvedExamples) -> None:
        self.solved, self.choice = solved, task.choice
        seed = task.choice.shuffle if task.choice is not None else None
        self.generator = None if seed is None else random.Random(seed)
        self.orders: dict[int, Question] = {}

    def of(self, question: Question) -> tuple[list[Question], Question, str]:
        """(shots, question, description)."""
        examples = self.solved.for_question(question)
        if self.generator is None:
            return examples, question, ""
        shuffled = []
        for one in examples:
            self.orders[id(one)] = self.orders.get(id(one), one).shuffled(self.generator)
            shuffled.append(self.orders[id(one)])
        question = question.shuffled(self.generator)
        assert self.choice is not None
        drawn = self.choice.descriptions.value(question.values) if self.choice.descriptions else [""]
        return shuffled, question, str(self.generator.choice(drawn))


def _chat(system: str, head: str, turns: list[Message], asked: str) -> tuple[Message, ...]:
    messages = [*turns, {"role": "user", "content": asked.strip("\n")}]
    messages[0] = {"role": "user", "content": head + messages[0]["content"]}
    return ({"role": "system", "content": system}, *messages) if system else tuple(messages)
