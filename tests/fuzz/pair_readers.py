"""Readers of the way from answers to preferences: pairs for dpo, responses and judgements for judge, its criteria."""

from __future__ import annotations

import base64
import contextlib
import itertools
import tomllib
from functools import lru_cache
from pathlib import Path

import numpy as np
import orjson
from fuzz.contract import check, workplace
from fuzz.layouts import folder_input, write_folder

from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Record, RecordReader, Rejects, check_preference, check_responses
from seatools.text.chat import load_chat_template
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

_TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"


@lru_cache
def _documents() -> Documents:
    """A tokenizer of 256 bytes, so that what was encoded is told by its ids, and a template."""
    with workplace() as folder:
        ranks = b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))
        (folder / "x.tiktoken").write_bytes(ranks)
        (folder / "chat_template.jinja").write_text(_TEMPLATE)
        return Documents(load_tokenizer(folder / "x.tiktoken", pattern="gpt2"), load_chat_template(folder))


def read_pairs(data: bytes, folder: Path) -> None:
    """Preference records: the same two texts that the record holds, with the answers alone trained."""
    from seatools.dpo import pairs
    from seatools.dpo.preference_record import sides_of

    path = folder / "p.jsonl"
    path.write_bytes(data)
    rejects, usable = Rejects("skip"), []
    for record in RecordReader(str(path), check=check_preference, rejects=Rejects("skip")):
        with contextlib.suppress(BadRecord):
            usable.append((record.value, sides_of(record.value)))
    for value, sides in usable:
        for name in ("chosen", "rejected"):
            whole, answer, prompt = value[name], getattr(sides, name), sides.prompt
            check(answer and type(answer) is type(whole), "no answer, or one in another form")
            if value.get("prompt") is None or (isinstance(value["prompt"], str) and isinstance(whole, list)):
                check(prompt and type(prompt) is type(whole) and prompt + answer == whole, "not what was divided")
            else:
                parts = [answer, prompt + answer] if isinstance(prompt, type(answer)) else [answer]
                check(prompt == value["prompt"] and whole in parts, "another prompt or answer")
    found = pairs.read_pairs([str(path)], _documents(), max_length=64, rejects=rejects, limit=None, workers=1)
    check(len(found) <= len(usable) <= len(found) + rejects.total, "pairs that no one counted")
    for pair in found:
        texts = [bytes(doc.ids.astype(np.uint8)) for doc in (pair.chosen, pair.rejected)]
        trained = [bytes(doc.ids[doc.loss_mask == 1].astype(np.uint8)) for doc in (pair.chosen, pair.rejected)]
        check(texts[0] != texts[1] and all(0 < len(text) <= 64 for text in texts), "equal, empty or too long")
        check(all(trained) and texts[0][: pair.shared] == texts[1][: pair.shared], "nothing is learnt")
        known = [(sides.prompt, sides.chosen, sides.rejected) for _, sides in usable]
        if all(isinstance(part, str) for sides in known for part in sides):
            made = [tuple((prompt + one).encode() for one in answers) for prompt, *answers in known]
            check(tuple(texts) in made, "other texts than the record's")
            # nothing stands before the first token of an answer to no prompt, so that nothing can predict it
            learnt = [tuple(one.encode()[not prompt :] for one in answers) for prompt, *answers in known]
            check(tuple(trained) in learnt, "not the answers alone")
    if not usable:
        raise SeaError("refused")


def read_judged(data: bytes, folder: Path) -> None:
    """Responses: pairs of two different answers of their record; judgements of them, recorded or kept."""
    from seatools.judge import pairs
    from seatools.judge.filters import AnswerFilter, FilterOptions
    from seatools.judge.instructions import InstructionBook
    from seatools.judge.judgements import KeptJudgements, RecordedJudgements
    from seatools.judge.judging_text import comparison_text, rating_text
    from seatools.judge.spin import gold_pairs

    files = write_folder(data, folder, ("r.jsonl", "recorded.jsonl", "kept.jsonl"))
    rejects, answers = Rejects("skip"), AnswerFilter(FilterOptions(max_repetition=0.5, drop_duplicates=True))
    refused = 0
    recorded = {}
    for mode in ("pairwise", "pointwise"):
        try:
            recorded[mode] = RecordedJudgements(str(folder / "recorded.jsonl"), mode)
        except SeaError:
            refused += 1
    items: list[pairs.Comparison] = []
    path = str(folder / "r.jsonl")
    records = RecordReader(path, check=check_responses, rejects=rejects) if "r.jsonl" in files else ()
    for record in itertools.islice(records, 50):
        usable, bad = answers.usable(record)
        responses = record.value["responses"]
        check(sorted([*usable, *(index for _, index in bad)]) == list(range(len(responses))), "an answer is lost")
        words = InstructionBook().of(pairs.lang_of(record))
        for item in itertools.islice(pairs.comparisons(record, usable), 20):
            if isinstance(item, BadRecord):
                continue
            items.append(item)
            check(item.question.first == responses[item.i] and item.question.second == responses[item.j], "others")
            text = comparison_text(words, item.question, ("A", "B"), chat=True)
            check(responses[item.i].strip() in text and responses[item.j].strip() in text, "an answer is not shown")
        for rated in itertools.islice(pairs.ratings(record, usable), 20):
            if not isinstance(rated, BadRecord):
                text = rating_text(words, *rated.answer, chat=False)
                check(rated.answer[1].strip() in text, "an answer is not shown")
        for line in itertools.islice(gold_pairs(record, usable, answers), 20):
            if isinstance(line, bytes):
                _check_preference(line, record)
    for item in items:
        for book in recorded.values():
            with contextlib.suppress(SeaError):
                said = book.values([item] if book.mode == "pairwise" else [pairs.Rating(item.record, item.i)])
                check(said.shape == (1, 2 if book.mode == "pairwise" else 1) and not np.isinf(said).any(), "no number")
    if "kept.jsonl" in files:
        with KeptJudgements(str(folder / "kept.jsonl")) as kept:
            for key in kept:
                values = kept.values(key)
                check(values is not None and len(values) in (1, 2), "not what was kept")
    if refused == 2 and not items:
        raise SeaError("refused")


def _check_preference(line: bytes, record: Record) -> None:
    """What judge writes, dpo reads: the record's prompt and two answers."""
    made = orjson.loads(line)
    check_preference(made)
    said = made["rejected"] if isinstance(made["prompt"], str) else made["rejected"][0]["content"]
    check(said in record.value["responses"] and made["prompt"] == record.value["prompt"], "another answer")


_CRITERIA = ("all.toml", "all.txt", "th.toml", "en.txt")


def read_criteria(data: bytes, folder: Path) -> None:
    """`--criteria`: each text that a file gives, as it stands there, and ours for all others."""
    from seatools.judge.instructions import KEYS, InstructionBook, shipped
    from seatools.judge.judging_text import Question, comparison_text

    files = write_folder(data, folder, _CRITERIA)
    specs = [str(folder / name) if name[:3] == "all" else f"{name[:2]}={folder / name}" for name in files]
    book = InstructionBook(specs)
    given: dict[str, dict[str, str]] = {"all": {}, "th": {}, "en": {}}
    for name in files:
        text = (folder / name).read_text()
        read = tomllib.loads(text) if name.endswith("toml") else dict.fromkeys(("criteria", "points"), text)
        given[name.partition(".")[0]] = {key: value.strip() for key, value in read.items()}
    for lang in ("th", "en"):
        words = book.of(lang)
        for key in KEYS:
            expected = given[lang].get(key) or given["all"].get(key) or shipped(lang)[key]
            check(getattr(words, key) == expected, f"another text for {key}")
        text = comparison_text(words, Question("q", "{second}", "{first}"), ("A", "B"), chat=True)
        check(words.criteria in text and "{second}" in text and "{first}" in text, "an answer was taken for a template")


_TURN = {"role": "user", "content": "x y"}


def _answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _lines(*rows: object) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def seeds() -> dict[str, list[bytes]]:
    """Well-formed inputs to begin from, by the reader's name."""
    responses = _lines(
        {"id": 1, "prompt": "x", "responses": ["a", "b", "c"], "lang": "th", "reference": "d"},
        {"id": "k", "prompt": [_TURN], "responses": ["a", " a ", ""], "messages": [_TURN, _answer("z")]},
    )
    recorded = _lines(
        {"id": 1, "first": 0, "second": 1, "forward": 1.5, "backward": -0.5},
        {"item": "0" * 16, "forward": "A", "backward": None},
    )
    longer = [_TURN, _answer("a"), _TURN, _answer("c")]
    words = 'criteria = """\nกก\n"""\nask = "{first} or {second}?"\n'.encode()
    others = b'points = "p"\nscore = "s"\nask_score = "a"\nquestion = "Q"\nanswer = "A"\nbetter = "b"\n'
    points = _lines({"id": 1, "answer": 0, "points": 3}, {"id": "k", "answer": 1, "points": None})
    kept = _lines({"key": "k", "item": "0", "forward": 0.25, "backward": None}, {"key": "l", "item": "1", "points": 4})
    return {
        "pairs": [
            _lines({"prompt": "x ", "chosen": "yes", "rejected": "no"}, {"chosen": "x yes", "rejected": "x no"}),
            _lines({"prompt": [_TURN], "chosen": [_answer("a")], "rejected": [_answer("b")], "lang": "th"}),
            _lines({"chosen": [_TURN, _answer("a")], "rejected": [_TURN, _answer("b")], "prompt": "x y"}),
            _lines({"prompt": "x y", "chosen": longer, "rejected": [_TURN, _answer("b")]}),
            _lines({"prompt": [{"role": "system", "content": "s"}, _TURN], "chosen": "a", "rejected": "b"}),
        ],
        "judge": [
            folder_input({"r.jsonl": responses, "recorded.jsonl": recorded}),
            folder_input({"r.jsonl": responses, "recorded.jsonl": points, "kept.jsonl": kept + b'{"key'}),
        ],
        "criteria": [
            folder_input({"all.txt": b"Be kind.\n", "th.toml": words}),
            folder_input({"all.toml": others, "en.txt": b"x"}),
        ],
    }
