"""The generation engine beside `model.generate` in static batches and lm-evaluation-harness' generate_until on a CPU.

    make peers                                # .venv-peers: lm_eval and torch
    python benchmarks/generation.py [--rounds 3] [--items 48] [--threads 1] [--only TEXT] [--batch-sizes 8,16,32]

A Llama of 53 M parameters (50,266 pieces; random weights, untied and large, so that greedy answers wander), fp32,
greedy, at most 256 new tokens. `mgsm`: 8 worked examples and a question (Thai, English), which end at stop strings
that about one token in 90 holds, beside the harness. `mixed`: beginnings of texts, 8 to 400 tokens, nothing shared,
which end at one of a set of ids (one in 90), beside `generate` with the prompts sorted by length. Each run is a process
of its own, in turn; time is its CPU time (and wall time) from prompts to texts, tokenising included, the model loaded
before. The peers run with each batch size of the list once and go on with the fastest. Answers that differ are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from own_process import PEER_PYTHON, alone, do_task, worker

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
SHAPE: dict[str, Any] = {
    "vocab_size": 50266, "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 9,
    "num_attention_heads": 6, "num_key_value_heads": 3, "tie_word_embeddings": False, "max_position_embeddings": 4096,
    "bos_token_id": 50256, "eos_token_id": 50256, "initializer_range": 0.1,
}  # fmt: skip
TOKENIZER = "gpt2-thai"
MAX_NEW = 256
STOPS = ["z", "J"]
STOP_IDS = list(range(7, 50266, 90))
TASKS = {"mgsm-th": "harness", "mgsm-en": "harness", "mixed": "generate"}


def write_model(folder: Path) -> int:
    """A model folder with random weights; returns how many."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    model.save_pretrained(folder)
    for file in (SHARED / "tokenizers" / TOKENIZER).iterdir():
        if file.suffix in (".json", ".txt") and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
    return sum(parameter.numel() for parameter in model.parameters())


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SHARED / "data" / name).open(encoding="utf-8")]


def write_prompts(path: Path, task: str, items: int) -> None:
    """The prompts of a task, as strings."""
    if task == "mixed":
        texts = [row["text"] for row in lines("mono/th_thaigov.jsonl")]
        asked = [text[: 20 + 1100 * (number * 37 % 101) // 101] for number, text in enumerate(texts[:items])]
    else:
        lang = task.rpartition("-")[2]
        shots = [row for row in lines("mgsm/exemplars.jsonl") if row["lang"] == lang]
        prefix = "".join(f"{row['question']}\n{row['answer']}\n\n" for row in shots)
        word = {"th": ("โจทย์", "คำตอบทีละขั้นตอน"), "en": ("Question", "Step-by-Step Answer")}[lang]
        asked = [f"{prefix}{word[0]}: {row['question']}\n{word[1]}:" for row in lines(f"mgsm/{lang}.jsonl")[:items]]
    path.write_text(json.dumps(asked), encoding="utf-8")


def ours(task: dict[str, Any]) -> dict[str, Any]:
    import torch

    from seatools.engine.generate import SamplingOptions, generate
    from seatools.engine.load import load_model
    from seatools.text.tokenizer import load_tokenizer

    torch.set_num_threads(task["threads"])
    model = load_model(task["folder"], device="cpu", dtype=torch.float32)
    tokenizer = load_tokenizer(task["folder"])
    asked = json.loads(Path(task["prompts"]).read_text(encoding="utf-8"))
    options = SamplingOptions(
        max_new_tokens=MAX_NEW, temperature=0, stop_strings=tuple(task["stops"]),
        stop_ids=frozenset([50256] if task["stops"] else [50256, *STOP_IDS]),
    )  # fmt: skip
    cpu, wall = time.process_time(), time.perf_counter()
    ids = tokenizer.encode_batch(asked)
    made = generate(model, ids, options, seeds=[0] * len(ids), decode=tokenizer.decode)
    measured = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return measured | {"texts": [answer.text for answer in made], "tokens": sum(len(answer.ids) for answer in made)}


def generate_worker(task: dict[str, Any]) -> dict[str, Any]:
    """`model.generate`, batches of prompts sorted by length, padded on the left."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(task["threads"])
    model = AutoModelForCausalLM.from_pretrained(task["folder"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(task["folder"], padding_side="left")
    tokenizer.pad_token_id = 50256
    asked = json.loads(Path(task["prompts"]).read_text(encoding="utf-8"))
    cpu, wall = time.process_time(), time.perf_counter()
    ids = tokenizer(asked)["input_ids"]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    texts = [""] * len(ids)
    ends = {50256, *STOP_IDS}
    for first in range(0, len(order), task["batch_size"]):
        rows = order[first : first + task["batch_size"]]
        batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
        with torch.inference_mode():
            found = model.generate(
                **batch, do_sample=False, max_new_tokens=MAX_NEW, pad_token_id=50256, eos_token_id=sorted(ends)
            )
        for row, answer in zip(rows, found[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
            end = next((place for place, token in enumerate(answer) if token in ends), len(answer))
            texts[row] = tokenizer.decode(answer[:end], skip_special_tokens=True)
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "texts": texts}


def harness(task: dict[str, Any]) -> dict[str, Any]:
    """Runs in .venv-peers."""
    import logging

    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    logging.disable(logging.WARNING)
    torch.set_num_threads(task["threads"])
    model = AutoModelForCausalLM.from_pretrained(task["folder"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(task["folder"], pad_token="<|endoftext|>", eos_token="<|endoftext|>")
    judge = HFLM(
        pretrained=model, tokenizer=tokenizer, batch_size=task["batch_size"], device="cpu", prefix_token_id=50256
    )
    asked = json.loads(Path(task["prompts"]).read_text(encoding="utf-8"))
    how = {"until": task["stops"], "do_sample": False, "max_gen_toks": MAX_NEW}
    instances = [Instance("generate_until", {}, (context, dict(how)), number) for number, context in enumerate(asked)]
    cpu, wall = time.process_time(), time.perf_counter()
    texts = judge.generate_until(instances, disable_tqdm=True)
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "texts": texts}


WORKERS = {"ours": ours, "generate": generate_worker, "harness": harness}


def compare(task: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    prompts, peer = folder / "prompts.json", TASKS[task]
    write_prompts(prompts, task, arguments.items)
    common = {"folder": str(folder), "prompts": str(prompts), "threads": arguments.threads}
    common["stops"] = STOPS if peer == "harness" else []
    python = PEER_PYTHON if peer == "harness" else sys.executable
    tried = {}
    for size in [int(size) for size in arguments.batch_sizes.split(",")]:
        tried[size] = worker(__file__, python, common | {"worker": peer, "batch_size": size})
    best = min(tried, key=lambda size: tried[size]["cpu"])
    theirs, mine = [tried[best]], [worker(__file__, sys.executable, common | {"worker": "ours"})]
    for _ in range(arguments.rounds - 1):
        theirs.append(worker(__file__, python, common | {"worker": peer, "batch_size": best}))
        mine.append(worker(__file__, sys.executable, common | {"worker": "ours"}))
    found: dict[str, Any] = {"task": task, "peer": peer, "prompts": arguments.items, "batch_size": best}
    found["tokens"] = mine[0]["tokens"]
    found["tried"] = {str(size): round(one["cpu"], 2) for size, one in tried.items()}
    for name, runs in (("ours", mine), ("theirs", theirs)):
        found[name] = {key: round(min(one[key] for one in runs), 3) for key in ("cpu", "wall", "peak_mb")}
    found["times_faster"] = round(found["theirs"]["cpu"] / found["ours"]["cpu"], 2)
    found["memory_share"] = round(found["ours"]["peak_mb"] / found["theirs"]["peak_mb"], 2)
    texts = zip(mine[0]["texts"], theirs[0]["texts"], strict=True)
    found["different_answers"] = sum(one != other for one, other in texts)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-sizes", default="8,16,32", help="of the peers, to choose from")
    parser.add_argument("--only", default="", help="tasks whose name holds this")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        do_task(arguments.worker, WORKERS)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = alone("generation", "write_model", folder)
        results = []
        for task in TASKS:
            if arguments.only in task:
                results.append(compare(task, folder, arguments))
                print(json.dumps(results[-1]), flush=True)
    if not arguments.no_record:
        from record import record

        sys.path.insert(0, str(REPOSITORY))
        record("generation", {"parameters": parameters, "tasks": results}, threads=arguments.threads)


if __name__ == "__main__":
    main()
