"""`sea dpo`'s steps beside TRL's DPOTrainer on a CPU: pairs/s, peak memory, the same losses; and prompts shared or not.

    make peers                               # .venv-peers: trl, accelerate, datasets
    python benchmarks/dpo.py [--vocab 32000|152000] [--prompt-length N] [--answer-length N] [--rounds 2] [--no-peer]
    python benchmarks/dpo.py --cuda 1b|8b [--train neurons|all] [--no-peer]

A Llama of 42 M parameters (32,000 pieces) or a Qwen2 of 87 M (152,000), random weights, fp32, AdamW (fused), clipped to
1, sigmoid loss, no recomputation; made-up pairs of uniformly drawn lengths around the given ones, the same for both in
the same order. Each run is a process of its own. Time is that of the best step after the first, on a CPU processor time
of one thread; memory the peak of the process, and above what it held when all was imported. The reference is computed
beforehand by each for itself and not timed. TRL runs as it does by default (all pairs of a step at once, blocks
recomputed), without recomputation, and pair by pair; speed is compared with its fastest and memory with its smallest
and its fastest. `--cuda` measures bf16 shapes on one GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from own_process import PEER_PYTHON, do_task, worker

REPOSITORY = Path(__file__).resolve().parent.parent
RATE, BETA = 1e-4, 0.1
_LLAMA: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 8192}
SHAPES: dict[str, dict[str, Any]] = {
    "32000": _LLAMA | {
        "vocab_size": 32000, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 9,
        "num_attention_heads": 8, "num_key_value_heads": 4, "tie_word_embeddings": True,
    },
    "152000": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 152000, "hidden_size": 448,
        "intermediate_size": 2432, "num_hidden_layers": 5, "num_attention_heads": 7, "num_key_value_heads": 1,
        "tie_word_embeddings": True, "max_position_embeddings": 8192,
    },
    "1b": _LLAMA | {
        "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "tie_word_embeddings": True,
    },
    "8b": _LLAMA | {
        "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": False,
    },
}  # fmt: skip
# What TRL is given: pairs in a forward pass (0: all of the step), blocks recomputed.
MODES = {"default": (0, True), "plain": (0, False), "pair by pair": (1, False)}
NEURONS_A_LAYER = 0.02


def write_model(folder: Path, shape: str, device: str) -> None:
    """A model folder with random weights, bf16 for a GPU."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(**{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **SHAPES[shape]})
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32 if device == "cpu" else torch.bfloat16)
    model.save_pretrained(folder)


def write_pairs(path: Path, task: dict[str, Any]) -> None:
    """The pairs in the order in which the steps read them, as JSON lines of token ids."""
    import numpy as np

    draw = np.random.default_rng(0)
    vocabulary = SHAPES[task["shape"]]["vocab_size"]

    def ids(mean: int) -> list[int]:
        return draw.integers(3, vocabulary, draw.integers(mean // 2, mean + mean // 2 + 1)).tolist()

    prompt, answer = task["prompt_length"], task["answer_length"]
    with path.open("w") as stream:
        for _ in range(task["steps"] * task["batch"]):
            record = {"prompt_ids": ids(prompt), "chosen_ids": ids(answer), "rejected_ids": ids(answer)}
            stream.write(json.dumps(record) + "\n")


def make(task: dict[str, Any]) -> dict[str, Any]:
    write_model(Path(task["folder"]), task["shape"], task["device"])
    write_pairs(Path(task["pairs"]), task)
    return {}


def held() -> float:
    """The largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def clock(cuda: bool) -> float:
    """Seconds: on a CPU those of this process alone, which other processes disturb less (all cores counted)."""
    return time.perf_counter() if cuda else time.process_time()


def read(task: dict[str, Any]) -> list[dict[str, list[int]]]:
    return [json.loads(line) for line in Path(task["pairs"]).read_text().splitlines()]


def sea_worker(task: dict[str, Any]) -> dict[str, Any]:
    """Our steps, as `sea dpo` takes them."""
    from dataclasses import dataclass

    import numpy as np
    import torch

    from seatools.dpo.pairs import Pair
    from seatools.dpo.step import PairGradients
    from seatools.engine.load import load_model
    from seatools.engine.optimise import MasterAdamW, clip_grad_norm
    from seatools.engine.row_order import rows_of_step
    from seatools.engine.sequences import score_documents
    from seatools.engine.shard import LossModule
    from seatools.engine.training_mode import prepare_for_training
    from seatools.engine.world import SINGLE
    from seatools.streams.messages import Messages
    from seatools.text.documents import TokenizedDoc

    @dataclass(frozen=True)
    class Options:
        beta: float = BETA
        loss: str = "sigmoid"
        label_smoothing: float = 0.0
        sft_weight: float = 0.0
        batch_size: int = task["batch"]
        micro_batch: int = task["micro"]
        seed: int = 0
        share_prompt: bool = task["share"]

    def doc(prompt: list[int], answer: list[int]) -> TokenizedDoc:
        mask = [0] * len(prompt) + [1] * len(answer)
        return TokenizedDoc(np.array(prompt + answer, np.uint32), np.array(mask, np.uint8))

    records, steps, batch = read(task), task["steps"], task["batch"]
    order = [row for step in range(1, steps + 1) for row in rows_of_step(
        step, batch_size=batch, num_rows=len(records), seed=0
    )]  # fmt: skip
    pairs: list[Any] = [None] * len(records)
    for record, row in zip(records, order, strict=True):
        sides = (doc(record["prompt_ids"], record[f"{name}_ids"]) for name in ("chosen", "rejected"))
        pairs[row] = Pair(*sides)
    cuda = task["device"] == "cuda"
    torch.zeros(1, device=task["device"])
    floor = held()
    model = load_model(task["folder"], device=task["device"], dtype=torch.bfloat16 if cuda else torch.float32)
    prepare_for_training(model, seq_len=8192, recompute=task["recompute"])
    documents = [side.document for pair in pairs for side in (pair.chosen, pair.rejected)]
    values = score_documents(model, documents, 0)
    parts: list[Any] = list(model.named_parameters())
    if task["train"] == "neurons":
        from seatools.engine.selected import select

        wanted = []
        for name, parameter in parts:
            if ".mlp." in name:
                dim = 1 if "down_proj" in name else 0
                number = int(parameter.shape[dim] * NEURONS_A_LAYER)
                wanted.append((name, dim, torch.linspace(0, parameter.shape[dim] - 1, number).long()))
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        parts = select(model, wanted)
    optimizer = MasterAdamW(parts, weight_decay=0.0)
    reference = {"chosen": values[0::2], "rejected": values[1::2]}
    gradients = PairGradients(
        LossModule(model), optimizer, pairs, reference, Options(), pad_id=0, world=SINGLE,
        messages=Messages(quiet=True),
    )  # fmt: skip
    losses, seconds, tokens = [], [], 0
    for step in range(1, steps + 1):
        began = clock(cuda)
        optimizer.zero_grad()
        row = gradients(step)
        clip_grad_norm(optimizer, 1.0)
        optimizer.step(RATE)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(clock(cuda) - began)
        losses.append(row["loss"])
        tokens += row["tokens"]
    return _result(task, seconds, losses, floor) | {"tokens": tokens}


def trl_worker(task: dict[str, Any]) -> dict[str, Any]:
    """Runs in .venv-peers."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from torch.utils.data import SequentialSampler
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    cuda = task["device"] == "cuda"
    dtype = torch.bfloat16 if cuda else torch.float32
    torch.zeros(1, device=task["device"])
    floor = held()
    batch, (pairs, recompute) = task["batch"], MODES[task["mode"]]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2}, "<pad>")),
        pad_token="<pad>", bos_token="<s>", eos_token="</s>",
    )  # fmt: skip
    losses: list[float] = []
    seconds: list[float] = []

    class Ordered(DPOTrainer):
        """Token ids as they are, in the order of the file; losses to all their digits."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

        def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
            loss = super().training_step(*arguments, **named)
            losses.append(float(loss))
            return loss

    class Clock(TrainerCallback):
        """Seconds from one step's begin to its end."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = clock(cuda)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if cuda:
                torch.cuda.synchronize()
            seconds.append(clock(cuda) - self.began)

    with tempfile.TemporaryDirectory() as scratch:
        config = DPOConfig(
            output_dir=scratch, max_steps=task["steps"], per_device_train_batch_size=pairs or batch,
            gradient_accumulation_steps=batch // (pairs or batch), learning_rate=RATE, lr_scheduler_type="constant",
            warmup_steps=0, weight_decay=0.0, adam_beta1=0.9, adam_beta2=0.95, adam_epsilon=1e-8, max_grad_norm=1.0,
            optim="adamw_torch_fused", bf16=cuda, fp16=False, use_cpu=not cuda, gradient_checkpointing=recompute,
            beta=BETA, precompute_ref_log_probs=True, max_length=None, logging_steps=1, report_to="none",
            save_strategy="no", disable_tqdm=True, model_init_kwargs={"dtype": dtype}, dataloader_pin_memory=False,
            seed=0,
        )  # fmt: skip
        trainer = Ordered(
            model=task["folder"], args=config, train_dataset=Dataset.from_list(read(task)),
            processing_class=tokenizer, callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    parts = batch // (pairs or batch)
    whole = [sum(losses[at : at + parts]) for at in range(0, len(losses), parts)]
    return _result(task, seconds, whole, floor)


def _result(task: dict[str, Any], seconds: list[float], losses: list[float], floor: float) -> dict[str, Any]:
    import torch

    peak = torch.cuda.max_memory_allocated() / 1e6 if task["device"] == "cuda" else held()
    above = peak if task["device"] == "cuda" else peak - floor
    return {"pairs_per_second": task["batch"] / min(seconds[1:]), "peak_mb": peak, "above_mb": above, "losses": losses}


def run(python: str, task: dict[str, Any]) -> dict[str, Any]:
    """A worker in a process of its own."""
    environment = {"OMP_NUM_THREADS": "1"} if task["device"] == "cpu" else {}
    if task["worker"] == "trl":
        environment["PYTHONPATH"] = ""
    return worker(__file__, python, task, **environment)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All runs of one setting; prints and returns what came out."""
    shape, device = arguments.cuda or arguments.vocab, "cuda" if arguments.cuda else "cpu"
    task = {
        "shape": shape, "device": device, "batch": arguments.batch, "steps": arguments.steps, "micro": arguments.micro,
        "prompt_length": arguments.prompt_length, "answer_length": arguments.answer_length, "train": arguments.train,
        "recompute": arguments.recompute, "folder": str(folder / "model"), "pairs": str(folder / "pairs.jsonl"),
    }  # fmt: skip
    run(sys.executable, task | {"worker": "make"})
    runs = {"shared": {"worker": "sea", "share": True}, "not shared": {"worker": "sea", "share": False}}
    if not arguments.no_peer and arguments.train == "all":
        modes = [arguments.mode] if arguments.mode else list(MODES)
        runs |= {f"TRL, {mode}": {"worker": "trl", "mode": mode} for mode in modes}
    found: dict[str, dict[str, Any]] = {}
    for _ in range(arguments.rounds):
        for name, changes in runs.items():
            result = run(str(PEER_PYTHON) if changes["worker"] == "trl" else sys.executable, task | changes)
            print(f"  {name}: {result}", file=sys.stderr, flush=True)
            best = found.setdefault(name, result)
            best["pairs_per_second"] = max(best["pairs_per_second"], result["pairs_per_second"])
            for key in ("peak_mb", "above_mb"):
                best[key] = min(best[key], result[key])
    for name, best in found.items():
        print(
            f"{shape} {arguments.prompt_length:>5}+{arguments.answer_length} {name:<18} "
            f"{best['pairs_per_second']:>7.3f} pairs/s {best['peak_mb']:>7.0f} MB,"
            f" {best['above_mb']:>7.0f} above imports",
            flush=True,
        )
    ours, alone = found["shared"], found["not shared"]
    ratios = {"sharing": ours["pairs_per_second"] / alone["pairs_per_second"]}
    peers = [found[name] for name in found if name.startswith("TRL")]
    if peers:
        fastest = max(peers, key=lambda peer: peer["pairs_per_second"])
        smallest = min(peers, key=lambda peer: peer["peak_mb"])
        ratios |= {
            "speed": ours["pairs_per_second"] / fastest["pairs_per_second"],
            "speed_not_shared": alone["pairs_per_second"] / fastest["pairs_per_second"],
            "peak_to_fastest": ours["peak_mb"] / fastest["peak_mb"],
            "above_to_fastest": ours["above_mb"] / fastest["above_mb"],
            "peak_to_smallest": ours["peak_mb"] / smallest["peak_mb"],
            "above_to_smallest": ours["above_mb"] / smallest["above_mb"],
        }
    every = [best["losses"] for best in found.values()]
    ratios["largest_loss_difference"] = max(
        abs(a - b) for losses in every for a, b in zip(losses, every[0], strict=True)
    )
    print("  " + ", ".join(f"{name} {value:.3g}" for name, value in ratios.items()), flush=True)
    if device == "cpu" and not ratios["largest_loss_difference"] < 1e-3:
        raise SystemExit("the losses differ: nothing is compared")
    return {"task": {key: value for key, value in task.items() if key not in ("folder", "pairs")}, "results": found,
            "ratios": ratios}  # fmt: skip


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", choices=("32000", "152000"), default="32000")
    parser.add_argument("--cuda", choices=("1b", "8b"), help="on one GPU, in bf16")
    parser.add_argument("--train", choices=("all", "neurons"), default="all")
    parser.add_argument("--prompt-length", type=int, default=200, metavar="TOKENS")
    parser.add_argument("--answer-length", type=int, default=100, metavar="TOKENS")
    parser.add_argument("--batch", type=int, default=8, help="pairs in a step")
    parser.add_argument("--micro", type=int, default=0, help="our pairs in a forward pass; 0: its own choice")
    parser.add_argument("--recompute", default="none", help="ours: none, selective or full")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--mode", choices=tuple(MODES), help="of TRL; without it all")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        do_task(arguments.worker, {"make": make, "trl": trl_worker, "sea": sea_worker})
        return
    if not arguments.no_peer and not PEER_PYTHON.exists():
        raise SystemExit(f"{PEER_PYTHON} is missing: make peers")
    with tempfile.TemporaryDirectory(prefix="dpo-") as scratch:
        measured = measure(arguments, Path(scratch))
    if not arguments.no_record:
        from record import record

        record("dpo", {**measured, "load": os.getloadavg()[0]}, cores=os.cpu_count())


if __name__ == "__main__":
    main()
