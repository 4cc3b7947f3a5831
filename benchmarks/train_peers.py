"""`sea train` beside TRL's SFTTrainer on a CPU: tokens/s, peak memory, and the same losses.

    make peers                               # .venv-peers: trl, accelerate, datasets
    python benchmarks/train_peers.py [--rounds 2] [--steps 6] [--search] [--only TEXT] [--no-losses]

A Llama of 42 M parameters (32,064 pieces) and a Qwen2 of 87 M (151,936), random weights, fp32, AdamW (fused), clipping,
no recomputation; packed rows of 512 and 1,024 tokens of Thai news and English sentences, two rows a step, in the order
of the file. Each run is a process of its own: ours is the command `sea train`, the peer a script of SFTTrainer on the
same tokens. Time is that of the best step after the first; memory the peak of the whole process. TRL packs on a CPU in
three ways, and is given its fastest here (`--search` runs all): `bfd`, whose documents do not see each other, with the
rows of a step laid end to end (`flat`) or one after the other (`one`), and `wrapped`, whose documents do see others.
The losses of 50 steps are compared with `bfd`, whose documents are kept apart by restarting positions, as ours are.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from own_process import PEER_PYTHON, alone, timed

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
ROWS, RATE, LOSS_STEPS, LOSS_ROW = 2, 1e-4, 50, 128
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32064, "hidden_size": 512,
        "intermediate_size": 1376, "num_hidden_layers": 9, "num_attention_heads": 8, "num_key_value_heads": 4,
        "tie_word_embeddings": True, "max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 448,
        "intermediate_size": 2432, "num_hidden_layers": 5, "num_attention_heads": 7, "num_key_value_heads": 1,
        "tie_word_embeddings": True, "max_position_embeddings": 2048, "bos_token_id": 151643, "eos_token_id": 151643,
    },
}  # fmt: skip
TOKENIZERS = {"llama": "openllama", "qwen2": "qwen2"}
MODES = ("flat", "one", "wrapped")


def sea(*arguments: object) -> None:
    """Run `sea`, quietly."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "seatools", *map(str, arguments), "-q"]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def write_model(folder: Path, shape: str) -> int:
    """A model folder with random weights; returns how many."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(**SHAPES[shape])
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    for file in (SHARED / "tokenizers" / TOKENIZERS[shape]).iterdir():
        if file.suffix in (".json", ".txt", ".model") and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
    return sum(parameter.numel() for parameter in model.parameters())


def pack(folder: Path, row: int, out: Path) -> None:
    """Packed rows, and the same as JSON lines for the peer: {"input_ids", "seq_lengths"}, full rows only."""
    from seatools.text.packed import read_packed

    texts = (f"th={SHARED}/data/mono/th_thaigov.jsonl:1", f"en={SHARED}/data/mono/en_commonvoice.txt:1")
    budget = max(40_000, 2 * LOSS_STEPS * row)
    sea(
        "mix",
        *texts,
        "--tokenizer",
        folder,
        "--unit",
        "tokens",
        "--budget",
        budget,
        "--no-index",
        "--pack",
        row,
        "-o",
        out,
    )
    packed = read_packed(out)
    with out.with_suffix(".peer.jsonl").open("w") as stream:
        for number in range(packed.num_rows):
            documents = packed.row(number)
            ids = [int(token) for document, _ in documents for token in document]
            stream.write(
                json.dumps({"input_ids": ids, "seq_lengths": [len(document) for document, _ in documents]}) + "\n"
            )


def run_ours(folder: Path, packed: Path, out: Path, steps: int, rows: int) -> dict[str, Any]:
    """`sea train` in a process; its metrics."""
    command = [
        sys.executable, "-m", "seatools", "train", folder, packed, "-o", out, "--force", "--max-steps", steps,
        "--batch-size", rows, "--order", "file", "--lr", RATE, "--schedule", "constant", "--warmup", 0,
        "--weight-decay", 0.1, "--clip", 1, "--dtype", "fp32", "--device", "cpu", "-q",
    ]  # fmt: skip
    peak = timed(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})["peak_mb"]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "loss" in line and "tokens_per_second" in line]
    shutil.rmtree(out)
    rates = [line["tokens_per_second"] for line in lines]
    return {"tokens_per_second": max(rates[1:]), "peak_mb": peak, "losses": [line["loss"] for line in lines]}


def run_trl(folder: Path, packed: Path, out: Path, steps: int, rows: int, mode: str) -> dict[str, Any]:
    """SFTTrainer in a process of the peers' environment; what it printed."""
    task = {
        "folder": str(folder), "data": str(packed.with_suffix(".peer.jsonl")), "steps": steps, "rows": rows,
        "mode": mode, "result": str(out) + ".json",
    }  # fmt: skip
    peak = timed([str(PEER_PYTHON), __file__, "--trl", json.dumps(task)], env=dict(os.environ))["peak_mb"]
    return {**json.loads(Path(task["result"]).read_text()), "peak_mb": peak}


def trl_worker(task: dict[str, Any]) -> None:
    """Runs in .venv-peers."""
    import torch
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import AutoTokenizer, PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    rows, mode = task["rows"], task["mode"]
    records = [json.loads(line) for line in Path(task["data"]).read_text().splitlines()]
    if mode == "wrapped":
        records = [{"input_ids": record["input_ids"]} for record in records]
    flat = mode != "one"
    file = Path(task["folder"]) / "tokenizer.json"
    tokenizer = (
        PreTrainedTokenizerFast(tokenizer_file=str(file), eos_token="</s>")
        if file.exists()
        else AutoTokenizer.from_pretrained(task["folder"])
    )
    with tempfile.TemporaryDirectory() as scratch:
        config = SFTConfig(
            output_dir=scratch, max_steps=task["steps"], per_device_train_batch_size=rows if flat else 1,
            gradient_accumulation_steps=1 if flat else rows, learning_rate=RATE, lr_scheduler_type="constant",
            warmup_steps=0, weight_decay=0.1, adam_beta1=0.9, adam_beta2=0.95, adam_epsilon=1e-8, max_grad_norm=1.0,
            optim="adamw_torch_fused", bf16=False, fp16=False, use_cpu=True, gradient_checkpointing=False,
            packing=True, packing_strategy="wrapped" if mode == "wrapped" else "bfd", max_length=2048,
            dataset_kwargs={"skip_prepare_dataset": True}, logging_steps=1, report_to="none", save_strategy="no",
            disable_tqdm=True, model_init_kwargs={"dtype": torch.float32}, dataloader_pin_memory=False, seed=0,
        )  # fmt: skip
        losses: list[float] = []
        seconds: list[float] = []

        class Ordered(SFTTrainer):
            """Rows in the order of the file; losses to all their digits (the log has four)."""

            def _get_train_sampler(self, *_: Any) -> SequentialSampler:
                return SequentialSampler(self.train_dataset)

            def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
                loss = super().training_step(*arguments, **named)
                losses.append(float(loss))
                return loss

        class Clock(TrainerCallback):
            """Seconds from one step's begin to its end."""

            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.began = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                seconds.append(time.perf_counter() - self.began)

        trainer = Ordered(
            model=task["folder"], args=config, train_dataset=Dataset.from_list(records), processing_class=tokenizer,
            callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    parts = 1 if flat else rows
    whole = [sum(losses[at : at + parts]) for at in range(0, len(losses), parts)]
    lengths = [len(record["input_ids"]) for record in records]
    tokens = [sum(lengths[(step * rows + n) % len(lengths)] for n in range(rows)) for step in range(len(seconds))]
    rates = [count / took for count, took in zip(tokens, seconds, strict=True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    result = {"tokens_per_second": max(rates[1:]), "losses": whole, "own_peak_mb": peak}
    Path(task["result"]).write_text(json.dumps(result))


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--search", action="store_true", help="every way in which TRL packs")
    parser.add_argument("--mode", choices=MODES, default="one", help="of TRL, without --search")
    parser.add_argument("--only", default="", help="runs whose 'shape row' holds this")
    parser.add_argument("--no-losses", action="store_true")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--trl", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.trl:
        trl_worker(json.loads(arguments.trl))
        return
    if not PEER_PYTHON.exists():
        raise SystemExit(f"{PEER_PYTHON} is missing: make peers")
    with tempfile.TemporaryDirectory(prefix="train-peers-") as scratch:
        measure(arguments, Path(scratch))


def measure(arguments: argparse.Namespace, work: Path) -> None:
    """All runs, in the folder `work`."""
    measured: dict[str, Any] = {}
    modes = MODES if arguments.search else (arguments.mode,)
    for shape in SHAPES:
        folder, parameters = work / shape, 0
        for row in (512, 1024, LOSS_ROW):
            losses = row == LOSS_ROW
            if arguments.only not in f"{shape} {row}" or (losses and arguments.no_losses):
                continue
            if not folder.exists():
                parameters = alone("train_peers", "write_model", folder, shape)
            packed = work / f"{shape}.{row}.safetensors"
            alone("train_peers", "pack", folder, row, packed)
            if losses:
                ours = run_ours(folder, packed, work / "out", LOSS_STEPS, 1)
                peer = run_trl(folder, packed, work / "trl", LOSS_STEPS, 1, "one")
                worst = max(abs(a - b) for a, b in zip(ours["losses"], peer["losses"], strict=True))
                print(
                    f"{shape} losses of {LOSS_STEPS} steps differ by {worst:.1e} at most",
                    flush=True,
                )
                measured[f"{shape} losses"] = {
                    "steps": LOSS_STEPS,
                    "row": row,
                    "largest_difference": worst,
                    "first": ours["losses"][0],
                    "last": ours["losses"][-1],
                }
                continue
            found: dict[str, dict[str, float]] = {}
            for _ in range(arguments.rounds):
                for name in ("sea", *modes):
                    steps, out = arguments.steps, work / "out"
                    result = (
                        run_ours(folder, packed, out, steps, ROWS)
                        if name == "sea"
                        else run_trl(folder, packed, out, steps, ROWS, name)
                    )
                    best = found.setdefault(name, {"tokens_per_second": 0.0, "peak_mb": float("inf")})
                    best["tokens_per_second"] = max(best["tokens_per_second"], result["tokens_per_second"])
                    best["peak_mb"] = min(best["peak_mb"], result["peak_mb"])
            fastest = max(found[mode]["tokens_per_second"] for mode in modes)
            smallest = min(found[mode]["peak_mb"] for mode in modes)
            ours = found["sea"]
            ratios = {"speed": ours["tokens_per_second"] / fastest, "memory": ours["peak_mb"] / smallest}
            for name, best in found.items():
                label, rate, peak = f"TRL, {name}" if name != "sea" else "sea train", *best.values()
                print(
                    f"{shape} {row:>5} {label:<14} {rate:>7.0f} tokens/s {peak:>7.0f} MB",
                    flush=True,
                )
            print(
                f"{shape} {row:>5} sea to the best TRL: {ratios['speed']:.2f} x speed, {ratios['memory']:.2f} x memory",
                flush=True,
            )
            measured[f"{shape} {row}"] = {"parameters": parameters, "results": found, "ratios": ratios}
    if not arguments.no_record:
        from record import record

        load = os.getloadavg()[0]
        record(
            "train_peers",
            {"rows": ROWS, "steps": arguments.steps, "results": measured, "load": load},
            cores=os.cpu_count(),
        )


if __name__ == "__main__":
    main()
