"""The log-likelihood engine of `sea eval` beside lm-evaluation-harness' HFLM on a CPU: time, peak memory, same values.

    make peers                                # .venv-peers: lm_eval and torch
    python benchmarks/eval_choice.py [--rounds 3] [--items 32] [--threads 2] [--only TEXT] [--batch-sizes 1,4,16]

A Llama of 51 M parameters (50,266 pieces, random weights, fp32) and the same (context, continuation) strings, made
from the shared data: Belebele and Global-MMLU with letters, SIB-200 with label texts, and XCOPA, in Thai, English and
Indonesian; and FLORES lines whole, beside the harness' rolling log-likelihood. Each run is a process of its own, in
turn. Time is the process' CPU time (and wall time) from strings to values, tokenising included, the model loaded
before. The harness runs with each batch size of the list once, on all items, and goes on with the fastest; it groups
one-token answers by itself, as it does by default.

Peak memory is told twice: of the process, and above the floor, which is the peak of a process of the same Python that
imports torch and transformers, loads the model and reads one token with it (the weights are mapped, so it is the
reading that brings them in). The floor is most of it at 51 M parameters, and is nobody's choice.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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
    "vocab_size": 50266, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 9,
    "num_attention_heads": 8, "num_key_value_heads": 4, "tie_word_embeddings": True, "max_position_embeddings": 4096,
    "bos_token_id": 50256, "eos_token_id": 50256,
}  # fmt: skip
TOKENIZER = "gpt2-thai"
# name, row format, file of questions, file of shots (None: the first of the same file), language, shots
TASKS = (
    ("belebele-th-5shot", "belebele", "belebele/tha_Thai.jsonl", None, "th", 5),
    ("mmlu-en-5shot", "mmlu", "global_mmlu_lite/en.test.jsonl", "global_mmlu_lite/en.dev.jsonl", "en", 5),
    ("sib200-th-3shot", "sib200", "sib200/tha_Thai.jsonl", None, "th", 3),
    ("sib200-en-5shot", "sib200", "sib200/eng_Latn.jsonl", None, "en", 5),
    ("xcopa-th", "xcopa", "xcopa/th.test.jsonl", None, "th", 0),
    ("xcopa-id", "xcopa", "xcopa/id.test.jsonl", None, "id", 0),
    ("xcopa-th-5shot", "xcopa", "xcopa/th.test.jsonl", "xcopa/th.val.jsonl", "th", 5),
    ("perplexity-th", "rolling", "flores200/dev/tha_Thai.txt", None, "th", 0),
    ("perplexity-en", "rolling", "flores200/dev/eng_Latn.txt", None, "en", 0),
)
BEGIN = 50256  # the token before a text that is scored whole


CONNECTORS = {
    "th": {"cause": "เพราะ", "effect": "ดังนั้น"},
    "id": {"cause": "karena", "effect": "maka"},
}
TOPICS = ("science/technology", "travel", "politics", "sports", "health", "entertainment", "geography")


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


def question(form: str, row: dict[str, Any], lang: str) -> tuple[str, list[str], int]:
    """(prompt, choices, index of the right one), in the forms that the harness' tasks have."""
    if form == "belebele":
        options = [row[f"mc_answer{number}"] for number in range(1, 5)]
        prompt = lettered(f"P: {row['flores_passage']}\nQ: {row['question']}", options)
        return prompt, list("ABCD"), int(row["correct_answer_num"]) - 1
    if form == "mmlu":
        asked = row["prompts"][0]
        options = [asked[f"option_{letter}"] for letter in "abcd"]
        return lettered(asked["question"], options), list("ABCD"), "ABCD".index(row["label"])
    if form == "sib200":
        return f"Text: {row['text']}\nTopic:", list(TOPICS), TOPICS.index(row["label"])
    connector = CONNECTORS[lang][row["question"]]
    return f"{row['premise'].rstrip('.')} {connector}", [row["choice1"], row["choice2"]], row["label"]


def lettered(text: str, options: list[str]) -> str:
    lines = [f"{letter}: {option}" for letter, option in zip("ABCD", options, strict=True)]
    return "\n".join([text.strip(), *lines, "Answer:"])


def write_requests(path: Path, task: tuple[str, str, str, str | None, str, int], items: int) -> int:
    """(context, continuation) of all choices of the first questions behind the shots; returns how many."""
    _, form, file, shots_file, lang, shots = task
    if form == "rolling":
        texts = [[line] for line in (SHARED / "data" / file).read_text(encoding="utf-8").splitlines()[:items]]
        path.write_text(json.dumps(texts), encoding="utf-8")
        return len(texts)
    rows = [json.loads(line) for line in (SHARED / "data" / file).open(encoding="utf-8")]
    if shots_file:
        solved = [json.loads(line) for line in (SHARED / "data" / shots_file).open(encoding="utf-8")][:shots]
    else:
        solved, rows = rows[:shots], rows[shots:]
    prefix = ""
    for prompt, choices, answer in (question(form, row, lang) for row in solved):
        prefix += f"{prompt} {choices[answer]}\n\n"
    asked = []
    for prompt, choices, _ in (question(form, row, lang) for row in rows[:items]):
        asked += [[prefix + prompt, f" {choice}"] for choice in choices]
    path.write_text(json.dumps(asked), encoding="utf-8")
    return len(asked)


def ours(task: dict[str, Any]) -> dict[str, Any]:
    import torch

    from seatools.engine.load import load_model
    from seatools.engine.prefix_scores import prefix_scores
    from seatools.text.documents import Documents, TokenizedDoc
    from seatools.text.tokenizer import load_tokenizer

    torch.set_num_threads(task["threads"])
    model = load_model(task["folder"], device="cpu", dtype=torch.float32)
    documents = Documents(load_tokenizer(task["folder"]), None, add_eos=False)
    requests = json.loads(Path(task["requests"]).read_text(encoding="utf-8"))
    base = _peak_mb()
    cpu, wall = time.process_time(), time.perf_counter()
    if len(requests[0]) == 1:
        ids = documents.tokenizer.encode_batch([text for (text,) in requests], workers=task["threads"])
        docs: list[Any] = [([BEGIN, *own], [0] + [1] * len(own)) for own in ids]
    else:
        asked = [{"prompt": context, "completion": continuation} for context, continuation in requests]
        encoded = documents.encode(asked, workers=task["threads"])
        docs = [doc.document for doc in encoded if isinstance(doc, TokenizedDoc)]
    values = prefix_scores(model, docs, batch_tokens=task.get("batch_tokens"))
    return _measured(cpu, wall, base, values.tolist())


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
    tokenizer = AutoTokenizer.from_pretrained(task["folder"])
    judge = HFLM(  # the tokenizer names no special token, and HFLM wants one to begin empty contexts with
        pretrained=model, tokenizer=tokenizer, batch_size=task["batch_size"], device="cpu",
        prefix_token_id=model.config.eos_token_id,
    )  # fmt: skip
    requests = json.loads(Path(task["requests"]).read_text(encoding="utf-8"))
    kind: Any = "loglikelihood_rolling" if len(requests[0]) == 1 else "loglikelihood"
    instances = [Instance(kind, {}, tuple(request), number) for number, request in enumerate(requests)]
    base = _peak_mb()
    cpu, wall = time.process_time(), time.perf_counter()
    if kind == "loglikelihood":
        values = [value for value, _ in judge.loglikelihood(instances, disable_tqdm=True)]
    else:
        values = judge.loglikelihood_rolling(instances, disable_tqdm=True)
    return _measured(cpu, wall, base, values)


def floor(task: dict[str, Any]) -> dict[str, Any]:
    """Runs in both Pythons: what no evaluation with transformers can do without."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(task["threads"])
    model = AutoModelForCausalLM.from_pretrained(task["folder"], dtype=torch.float32).eval()
    with torch.no_grad():
        model(input_ids=torch.tensor([[1]]))
    return {"peak_mb": _peak_mb()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _measured(cpu: float, wall: float, base: float, values: list[float]) -> dict[str, Any]:
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {**spent, "values": values, "peak_mb": _peak_mb(), "scoring_mb": _peak_mb() - base}


def compare(
    task: tuple[str, str, str, str | None, str, int], folder: Path, arguments: argparse.Namespace,
    floors: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    requests = folder / "requests.json"
    count = write_requests(requests, task, arguments.items * (4 if task[1] in ("xcopa", "rolling") else 1))
    common = {"folder": str(folder), "requests": str(requests), "threads": arguments.threads}
    tried = {}
    for size in [int(size) for size in arguments.batch_sizes.split(",")]:
        tried[size] = worker(__file__, PEER_PYTHON, common | {"worker": "harness", "batch_size": size})
    best = min(tried, key=lambda size: float(tried[size]["cpu"]))
    theirs, mine = [tried[best]], [worker(__file__, sys.executable, common | {"worker": "ours"})]
    for _ in range(arguments.rounds - 1):
        theirs.append(worker(__file__, PEER_PYTHON, common | {"worker": "harness", "batch_size": best}))
        mine.append(worker(__file__, sys.executable, common | {"worker": "ours"}))
    found: dict[str, Any] = {"task": task[0], "requests": count, "batch_size": best}
    found["tried"] = {str(size): round(run["cpu"], 2) for size, run in tried.items()}
    for name, runs in (("ours", mine), ("harness", theirs)):
        found[name] = {key: round(min(run[key] for run in runs), 3) for key in ("cpu", "wall", "peak_mb", "scoring_mb")}
    found["times_faster"] = round(found["harness"]["cpu"] / found["ours"]["cpu"], 2)
    found["memory_share"] = round(found["ours"]["peak_mb"] / found["harness"]["peak_mb"], 2)
    above = {name: found[name]["peak_mb"] - peak for name, peak in floors.items()}
    found["above_floor_mb"] = {name: round(peak, 1) for name, peak in above.items()}
    found["memory_share_above_floor"] = round(above["ours"] / above["harness"], 2)
    pairs = zip(mine[0]["values"], theirs[0]["values"], strict=True)
    found["largest_difference"] = max(abs(one - other) for one, other in pairs)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=32, help="questions a task, four times as many of XCOPA and lines")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-sizes", default="1,4,16", help="of the harness, to choose from")
    parser.add_argument("--only", default="", help="tasks whose name holds this")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        do_task(arguments.worker, {"ours": ours, "harness": harness, "floor": floor})
        return
    sys.path.insert(0, str(REPOSITORY))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = alone("eval_choice", "write_model", folder)
        asked = {"folder": name, "threads": arguments.threads, "worker": "floor"}
        pythons = {"ours": sys.executable, "harness": PEER_PYTHON}
        floors = {who: worker(__file__, python, asked)["peak_mb"] for who, python in pythons.items()}
        results = []
        for task in TASKS:
            if arguments.only in task[0]:
                results.append(compare(task, folder, arguments, floors))
                print(json.dumps(results[-1]), flush=True)
    if not arguments.no_record:
        from record import record

        record(
            "eval_choice", {"parameters": parameters, "floor_mb": floors, "tasks": results}, threads=arguments.threads
        )


if __name__ == "__main__":
    main()
