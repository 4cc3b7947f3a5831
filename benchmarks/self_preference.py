"""Two rounds of `sea sample | sea judge | sea dpo` on a small real model, and what they changed.

    python benchmarks/self_preference.py WORK --base WORK_OF_LSN_EFFECT/base

The base is the Llama of 3.9 million parameters and eight languages that `lsn_effect.py` makes. It is tuned on chat
records from SIB-200 (a sentence, asked for its topic in its own language) and on judging records in the judge's own
words (the right topic beside a wrong one, in both orders), because a model of this size judges nothing untaught. Two
rounds follow on sentences that the tuning did not have. Measured before and after, on sentences that neither had:
accuracy of greedy and of sampled answers, win rate against the tuned model by the key (the recorded judge, which knows
the topic) and by the model's own judgement in both orders, and bits per byte of FLORES.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lsn_effect_base import DATA, FLORES, REPOSITORY, sea
from record import record

from seatools.judge.instructions import InstructionBook
from seatools.judge.judging_text import Question, comparison_text

TOPICS = ("science/technology", "travel", "politics", "sports", "health", "entertainment", "geography")
TUNED = 200  # of the 373 sentences of SIB-200's train split; the rest and dev are for the two rounds
TEMPLATE = REPOSITORY / "examples/quickstart/base/chat_template.jinja"
TOKENS, SFT_WEIGHT = "1700k", 0.1
Row = dict[str, Any]


def words() -> dict[str, Any]:
    """How each language asks for a topic, from the task `sib200:native`."""
    task = tomllib.loads((REPOSITORY / "seatools/eval/tasks/sib200.toml").read_text(encoding="utf-8"))
    return task["variants"]["native"]["words"]


def sentences(lang: str) -> dict[str, list[tuple[str, int]]]:
    """Split -> (sentence, number of its topic)."""
    found: dict[str, list[tuple[str, int]]] = {"tune": [], "prefer": [], "test": []}
    rows = [json.loads(line) for line in (DATA / f"sib200/{FLORES[lang]}.jsonl").read_bytes().splitlines()]
    train = [row for row in sorted(rows, key=lambda row: row["index_id"]) if row["official_split"] == "train"]
    for number, row in enumerate(train):
        found["tune" if number < TUNED else "prefer"].append((row["text"], TOPICS.index(row["label"])))
    for row in rows:
        if row["official_split"] != "train":
            part = "test" if row["official_split"] == "test" else "prefer"
            found[part].append((row["text"], TOPICS.index(row["label"])))
    return found


def write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def judgements(words: Any, asked: str, right: str, wrong: str, lang: str) -> list[Row]:
    """The right and a wrong answer as `sea judge` shows them, in both orders, and the label that is right."""
    made = []
    for first, second, label in ((right, wrong, "A"), (wrong, right, "B")):
        text = comparison_text(words, Question(asked, first, second), ("A", "B"), chat=True)
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": label}]
        made.append({"messages": turns, "lang": lang})
    return made


def make_records(work: Path) -> None:
    """WORK/data: chat to tune on (answers and judgements), prompts of the rounds, prompts of the test."""
    draw, book = random.Random(0), InstructionBook()
    answers: list[Row] = []
    judged: list[Row] = []
    prompts: dict[str, list[Row]] = {"prefer": [], "test": []}
    for lang in FLORES:
        asking = words()[lang]
        for part, rows in sentences(lang).items():
            for text, topic in rows:
                asked = f"{asking['text']} {text}\n{asking['topic']}"
                turns, right = [{"role": "user", "content": asked}], asking["topics"][topic]
                if part != "tune":
                    prompts[part].append({"prompt": turns, "lang": lang, "reference": right})
                    continue
                answers.append({"messages": [*turns, {"role": "assistant", "content": right}], "lang": lang})
                wrong = asking["topics"][draw.choice([n for n in range(len(TOPICS)) if n != topic])]
                judged += judgements(book.of(lang), asked, right, wrong, lang)
    write(work / "data/answers.jsonl", answers)
    write(work / "data/judged.jsonl", judged)
    for part, rows in prompts.items():
        write(work / f"data/{part}.jsonl", rows)


def tune(work: Path, base: Path) -> None:
    """WORK/m0: the base with chat, judgements, and some of its own kind of text, so that it forgets little."""
    data = work / "data"
    mix = data / "tune.jsonl"
    sources = [f"answers={data / 'answers.jsonl'}:1", f"judged={data / 'judged.jsonl'}:2"]
    sources += [f"{lang}={base.parent / 'text' / f'{lang}.jsonl'}:0.05" for lang in FLORES]
    sea("mix", *sources, "--tokenizer", base, "--chat-template", TEMPLATE, "--unit", "tokens", "--budget", TOKENS,
        "--no-index", "--force", "-q", "-o", mix)  # fmt: skip
    sea("train", base, mix, "-o", work / "m0", "--force", "--chat-template", TEMPLATE, "--seq-len", 1024,
        "--batch-size", 4, "--epochs", 1, "--lr", 1e-3, "--warmup", 0.05, "-q")  # fmt: skip


def sampled(model: Path, prompts: Path, out: Path, number: int, temperature: float, seed: int) -> list[Row]:
    sea("sample", model, prompts, "-n", number, "--temperature", temperature, "--max-new-tokens", 16, "--seed", seed,
        "--force", "-q", "-o", out, workers=False)  # fmt: skip
    return read(out)


def align(work: Path, number: int) -> Row:
    """One round: WORK/m{number} from the model before it; what the judge said of itself."""
    before, after = work / f"m{number - 1}", work / f"m{number}"
    responses, preferences = work / f"responses{number}.jsonl", work / f"preferences{number}.jsonl"
    rows = sampled(before, work / "data/prefer.jsonl", responses, 2, 1.0, number)
    sea("judge", before, responses, "--force", "-q", "-o", preferences, workers=False)
    manifest = json.loads(preferences.with_name(preferences.name + ".manifest.json").read_bytes())
    sea("dpo", before, preferences, "-o", after, "--force", "--lr", 3e-5, "--epochs", 1, "--batch-size", 16,
        "--max-length", 512, "--sft-weight", SFT_WEIGHT, "-q")  # fmt: skip
    kept = read(preferences)
    right = sum(text(row["chosen"]) == row["reference"] for row in kept)
    wrong = sum(text(row["rejected"]) == row["reference"] for row in kept)
    return {
        "pairs": len(rows), "kept": len(kept), "counts": manifest["counts"], "rejects": manifest["rejects"],
        "chosen_right": right, "rejected_right": wrong,
    }  # fmt: skip


def text(answer: str | list[Row]) -> str:
    return (answer if isinstance(answer, str) else answer[-1]["content"]).strip()


def accuracy(rows: list[Row]) -> dict[str, float]:
    """Share of answers that are the right topic's name, by language and over all."""
    shares = {
        lang: [answer.strip() == row["reference"] for row in rows if row["lang"] == lang for answer in row["responses"]]
        for lang in FLORES
    }
    found = {lang: round(sum(own) / len(own), 4) for lang, own in shares.items()}
    return found | {"all": round(sum(map(sum, shares.values())) / sum(map(len, shares.values())), 4)}


def measure(work: Path, number: int, base: Path) -> Row:
    """Answers and bits per byte of WORK/m{number}, and its answers beside those of WORK/m0."""
    model, prompts = work / f"m{number}", work / "data/test.jsonl"
    greedy = sampled(model, prompts, work / f"greedy{number}.jsonl", 1, 0.0, 0)
    drawn = sampled(model, prompts, work / f"drawn{number}.jsonl", 4, 1.0, 100)
    data = [part for lang in FLORES for part in ("--data", f"{lang}={base.parent / 'few' / f'{lang}.txt'}")]
    scores = work / f"bits{number}.jsonl"
    sea("eval", model, "perplexity", *data, "-o", scores, "--force", "-q", workers=False)
    bits = {row["lang"]: round(row["value"], 4) for row in read(scores) if row["metric"] == "bits_per_byte"}
    found: Row = {"greedy": accuracy(greedy), "sampled": accuracy(drawn), "bits_per_byte": bits}
    return found | (wins(work, number, drawn) if number else {})


def wins(work: Path, number: int, drawn: list[Row]) -> Row:
    """Pairs of a sampled answer of m0 and of this model: who is right, and whom m0 prefers in both orders."""
    before = read(work / "drawn0.jsonl")
    pairs = [
        {**old, "id": place, "responses": [old["responses"][0], new["responses"][0]]}
        for place, (old, new) in enumerate(zip(before, drawn, strict=True))
    ]
    key = work / f"key{number}.jsonl"
    write(key, map(right_one, pairs))
    versus = work / f"versus{number}.jsonl"
    write(versus, pairs)
    by_key, by_judge = won(versus, "--recorded", key), won(versus, work / "m0")
    return {
        "key_new_wins": by_key[1], "key_old_wins": by_key[0], "judge_new_wins": by_judge[1],
        "judge_kept": sum(by_judge), "of": len(pairs),
    }  # fmt: skip


def right_one(pair: Row) -> Row:
    """What the key says of two answers, for `sea judge --recorded`: the right one's label, null of none or both."""
    old, new = (answer.strip() == pair["reference"] for answer in pair["responses"])
    labels = ("A", "B") if old and not new else ("B", "A") if new and not old else (None, None)
    return {"id": pair["id"], "first": 0, "second": 1, "forward": labels[0], "backward": labels[1]}


def won(versus: Path, *judge: object) -> tuple[int, int]:
    """How many pairs the first answer wins in both orders, and how many the second."""
    verdicts = versus.with_name(f"verdicts-{versus.name}")
    sea("judge", *judge, versus, "--force", "-q", "-o", verdicts, workers=False)
    first = [row["judgements"]["forward"] > 0 for row in read(verdicts)]
    return first.count(True), first.count(False)


def main() -> None:
    """Make what is not there, measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    work: Path = chosen.work
    began = time.perf_counter()
    make_records(work)
    if not (work / "m0.manifest.json").exists():
        tune(work, chosen.base)
    rounds, models = [], [measure(work, 0, chosen.base)]
    print(json.dumps(models[0]))
    for number in range(1, chosen.rounds + 1):
        rounds.append(align(work, number))
        models.append(measure(work, number, chosen.base))
        print(json.dumps(rounds[-1]))
        print(json.dumps(models[-1]))
    seconds = round(time.perf_counter() - began)
    record("self_preference", {"rounds": rounds, "models": models, "seconds": seconds})


if __name__ == "__main__":
    main()
