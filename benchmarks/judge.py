"""`sea judge` beside the same judge by generation on a CPU: the same comparisons in both orders, pairs a second.

    python benchmarks/judge.py [--rounds 3] [--pairs 16] [--threads 2] [--verdict-tokens 24] [--batch-size 8]

A Llama of 51 M parameters (50,266 pieces, random weights, fp32). A prompt is a sentence of FLORES, an answer one other
or three, which is most of what is read; Thai, Indonesian and English. The peer reads the very texts that sea reads and
writes a verdict of --verdict-tokens tokens with `model.generate` (greedy, static batches sorted by length, padded on
the left). sea reads the labels' log-probabilities, without and with --calibrate (its default, twice the readings). One
process, one model, in turn; the fastest round of each counts, in CPU seconds of the process, tokenising included. What
is gained depends on how much of the peer's time goes into writing: less where answers are long.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
FILES = {"th": "tha_Thai", "id": "ind_Latn", "en": "eng_Latn"}
END = 50256


def questions(lang: str, count: int, size: int) -> list[Any]:
    """Comparisons made of FLORES: a sentence to answer, `size` for either answer."""
    from seatools.judge.judging_text import Question

    lines = (SHARED / f"data/flores200/dev/{FILES[lang]}.txt").read_text("utf-8").splitlines()
    rows = [lines[7 * number : 7 * number + 7] for number in range(count)]
    return [Question(row[0], " ".join(row[1 : 1 + size]), " ".join(row[4 : 4 + size])) for row in rows]


def best(rounds: int, *ways: Callable[[], Any]) -> list[float]:
    """CPU seconds of the fastest round of each way, in turn."""
    found = [float("inf")] * len(ways)
    for _ in range(rounds):
        for place, way in enumerate(ways):
            start = time.process_time()
            way()
            found[place] = min(found[place], time.process_time() - start)
    return found


def measure(
    lang: str, size: int, model: Any, documents: Any, tokenizer: Any, arguments: argparse.Namespace
) -> dict[str, Any]:
    import torch

    from seatools.judge.both_orders import pair_log_odds
    from seatools.judge.instructions import InstructionBook
    from seatools.judge.judging_text import comparison_text

    asked = questions(lang, arguments.pairs, size)
    words = [InstructionBook().of(lang)] * len(asked)
    labels = ("A", "B")

    def ours(calibrate: bool) -> Any:
        return pair_log_odds(model, documents, asked, words, labels, calibrate=calibrate)

    def generated() -> None:
        texts = [
            comparison_text(words[0], one, labels, chat=False)
            for question in asked
            for one in (question, question.swapped)
        ]
        ids = [[END, *each] for each in tokenizer(texts)["input_ids"]]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        for first in range(0, len(order), arguments.batch_size):
            rows = order[first : first + arguments.batch_size]
            batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
            with torch.inference_mode():
                made = model.generate(
                    **batch, do_sample=False, max_new_tokens=arguments.verdict_tokens,
                    min_new_tokens=arguments.verdict_tokens, pad_token_id=END,
                )  # fmt: skip
            tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :])

    ours(False)  # the proof that the model can be computed as a tree is made once a process
    plain, calibrated, theirs = best(arguments.rounds, lambda: ours(False), lambda: ours(True), generated)
    tokens = len(documents.tokenizer.encode(comparison_text(words[0], asked[0], labels, chat=False)))
    return {
        "lang": lang, "sentences": size, "pairs": len(asked), "tokens_of_a_reading": tokens,
        "sea_seconds": round(plain, 2),
        "sea_calibrated_seconds": round(calibrated, 2), "generate_seconds": round(theirs, 2),
        "times_faster": round(theirs / plain, 2), "times_faster_calibrated": round(theirs / calibrated, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--verdict-tokens", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=8, help="of the peer")
    parser.add_argument("--only", default="", help="rows whose name (en-1) holds this")
    parser.add_argument("--note", default="", help="what to record beside: a busy machine")
    arguments = parser.parse_args()
    import torch
    from eval_choice import write_model
    from record import record
    from transformers import AutoTokenizer

    from seatools.engine.load import load_model
    from seatools.text.documents import load_documents

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        parameters = write_model(Path(name))
        model = load_model(name, device="cpu", dtype=torch.float32, packing=False)
        documents = load_documents(name)
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left")
        tokenizer.pad_token_id = END
        rows = []
        for lang in FILES:
            for size in (1, 3):
                if arguments.only in f"{lang}-{size}":
                    rows.append(measure(lang, size, model, documents, tokenizer, arguments))
                    print(rows[-1], flush=True)
    settings = {"threads": arguments.threads, "verdict_tokens": arguments.verdict_tokens}
    settings |= {"batch_size": arguments.batch_size, "parameters": parameters, "note": arguments.note}
    record("judge", {**settings, "rows": rows})
    total = sum(row["generate_seconds"] for row in rows)
    for name in ("sea_seconds", "sea_calibrated_seconds"):
        times = total / sum(row[name] for row in rows)
        print(f"{name.removesuffix('_seconds')}: {times:.1f} times the generating judge")


if __name__ == "__main__":
    main()
