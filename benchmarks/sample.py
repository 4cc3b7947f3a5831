"""`sea sample` beside `model.generate` in static batches, on prompts of mixed length, on a CPU.

    python benchmarks/sample.py [--rounds 3] [--items 32] [--num 2] [--threads 1] [--batch-sizes 8,16,32]

The Llama of benchmarks/generation.py (53 M parameters, 50,266 pieces, random weights, fp32) answers beginnings of Thai
texts, 8 to 400 tokens, `--num` times each: temperature 0.25 (its logits are flat: so it is about as sure as a trained
model at 1), top-p 0.95, at most 128 new tokens, ended by a set of ids, so that lengths differ as real answers' do. Ours
is what `sea sample` computes, from records to outcomes; the peer gets the prompts sorted by length and
num_return_sequences, and goes on with the fastest batch size. Draws differ, so tokens a second of CPU time are
compared. Each run is a process of its own, in turn; the model is loaded before.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import generation
from own_process import alone, do_task, worker

MAX_NEW, TEMPERATURE, TOP_P = 128, 0.25, 0.95
ENDS = [50256, *generation.STOP_IDS]


def write_all(folder: Path, items: int) -> int:
    parameters = generation.write_model(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ENDS}))  # which `sea sample` reads
    generation.write_prompts(folder / "prompts.json", "mixed", items)
    return parameters


def ours(task: dict[str, Any]) -> dict[str, Any]:
    import torch

    from seatools.engine.world import SINGLE
    from seatools.sample.options import SampleOptions
    from seatools.sample.questions import make_questions, plan_units
    from seatools.sample.run import new_answerer
    from seatools.sample.setup import Sampling, new_asker
    from seatools.streams.records import Record, Rejects, dump

    torch.set_num_threads(task["threads"])
    options = SampleOptions(num=task["num"], max_new_tokens=MAX_NEW, temperature=TEMPERATURE, top_p=TOP_P)
    sampling = Sampling(model=task["folder"], inputs=(), options=options, device="cpu", dtype="fp32")
    asker = new_asker(sampling)
    answerer = new_answerer(sampling, asker, SINGLE)
    assert answerer.model
    values = [{"prompt": text} for text in json.loads(Path(task["prompts"]).read_text(encoding="utf-8"))]
    records = [Record(dump(value), value, "p", number) for number, value in enumerate(values)]
    cpu, wall = time.process_time(), time.perf_counter()
    _, questions = make_questions(records, asker, Rejects())
    outcomes = [one for unit in plan_units(questions, options.num_made, larger=False) for one in answerer.answer(unit)]
    measured = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    encode = asker.documents.tokenizer.encode  # type: ignore[union-attr]
    return measured | {"tokens": sum(len(encode(text)) for one in outcomes for text in one.responses)}


def theirs(task: dict[str, Any]) -> dict[str, Any]:
    """`model.generate`, batches of prompts sorted by length, padded on the left."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(task["threads"])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(task["folder"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(task["folder"], padding_side="left")
    tokenizer.pad_token_id = 50256
    asked = json.loads(Path(task["prompts"]).read_text(encoding="utf-8"))
    texts: list[str] = []
    cpu, wall = time.process_time(), time.perf_counter()
    ids = sorted(tokenizer(asked)["input_ids"], key=len)
    size = max(1, task["batch_size"] // task["num"])
    for first in range(0, len(ids), size):
        batch = tokenizer.pad({"input_ids": ids[first : first + size]}, return_tensors="pt")
        with torch.inference_mode():
            found = model.generate(
                **batch, do_sample=True, temperature=TEMPERATURE, top_p=TOP_P, top_k=0, max_new_tokens=MAX_NEW,
                num_return_sequences=task["num"], pad_token_id=50256, eos_token_id=ENDS,
            )  # fmt: skip
        for answer in found[:, batch["input_ids"].shape[1] :].tolist():
            end = next((place for place, token in enumerate(answer) if token in set(ENDS)), len(answer))
            texts.append(tokenizer.decode(answer[:end]))
    measured = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return measured | {"tokens": sum(len(tokenizer(text)["input_ids"]) for text in texts)}


WORKERS = {"ours": ours, "theirs": theirs}


def compare(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    common = {"folder": str(folder), "prompts": str(folder / "prompts.json"), "threads": arguments.threads}
    common["num"] = arguments.num

    def run(kind: str, **more: Any) -> dict[str, Any]:
        found = worker(__file__, sys.executable, common | {"worker": kind} | more)
        return found | {"tokens_per_cpu_second": round(found["tokens"] / found["cpu"], 1)}

    def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
        return max(runs, key=lambda one: one["tokens_per_cpu_second"])

    sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    tried = {size: run("theirs", batch_size=size) for size in sizes}
    size = max(tried, key=lambda one: tried[one]["tokens_per_cpu_second"])
    peer, mine = [tried[size]], [run("ours")]
    for _ in range(arguments.rounds - 1):
        peer.append(run("theirs", batch_size=size))
        mine.append(run("ours"))
    one, other = best(mine), best(peer)
    return {
        "prompts": arguments.items, "num": arguments.num, "ours": one, "theirs": other, "batch_size": size,
        "tried": {str(size): found["tokens_per_cpu_second"] for size, found in tried.items()},
        "times_faster": round(one["tokens_per_cpu_second"] / other["tokens_per_cpu_second"], 2),
        "memory_share": round(one["peak_mb"] / other["peak_mb"], 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--num", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-sizes", default="8,16,32", help="answers at once of the peer, to choose from")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        do_task(arguments.worker, WORKERS)
        return
    with tempfile.TemporaryDirectory() as name:
        parameters = alone("sample", "write_all", Path(name), arguments.items)
        found = compare(Path(name), arguments) | {"parameters": parameters}
    print(json.dumps(found), flush=True)
    print(f"{found['times_faster']} times the tokens a second, {found['memory_share']} of the peak memory")
    if not arguments.no_record:
        from record import record

        sys.path.insert(0, str(generation.REPOSITORY))
        record("sample", found, threads=arguments.threads)


if __name__ == "__main__":
    main()
