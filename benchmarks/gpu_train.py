"""Training at the sizes that people train: 1B and 8B Llama shapes on one GPU, tokens/s, MFU and peak memory.

    python benchmarks/gpu_train.py [--only TEXT] [--steps 8] [--row 4096] [--no-compile] [--no-peer]
    python benchmarks/gpu_train.py --device cpu --tiny      # the same road with a small model, where there is no GPU

Random weights, bf16, packed rows of four documents, each case a process of its own. `1B full`: Llama 3.2's shape, fp32
masters and moments. `8B neurons`: Llama 3.1's, 0.1 % of it as rows of up_proj and columns of down_proj. `8B full`:
moments in bf16, and fp32 masters where the GPU holds them (140 GB), else none; full recomputation. Beside each, where
trl is installed, SFTTrainer with the flags that suit it: packing, its fused head, fused AdamW, flash attention 2 or 3
where there is one (else sdpa), gradient checkpointing for 8B; LoRA by peft for the neurons, as it has nothing nearer.
MFU counts as engine/flops.py says (printed), from the work that each method has to do, over the dense bf16 peak.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
COMMON = {"model_type": "llama", "num_key_value_heads": 8, "num_attention_heads": 32, "rope_theta": 5e5}
SHAPES: dict[str, dict[str, Any]] = {
    "1B": COMMON | {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "8B": COMMON | {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
    "tiny": COMMON | {
        "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "vocab_size": 512,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
}  # fmt: skip
# (what it is called, shape, whole or neurons, rows in a step, recomputation)
CASES = (
    ("1B full", "1B", "full", 4, "none"),
    ("8B neurons", "8B", "neurons", 2, "none"),
    ("8B full", "8B", "full", 2, "full"),
)
SHARE, RATE = 1e-3, 1e-5


def build(task: dict[str, Any], attention: str, *, full_precision: bool = False) -> Any:
    """The model with random weights, made on the device, in bf16 unless it is to be its own master."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    cuda = task["device"] != "cpu"
    config = AutoConfig.for_model(**SHAPES[task["shape"]], max_position_embeddings=task["row"])
    with torch.device(task["device"]):
        model = AutoModelForCausalLM.from_config(
            config,
            dtype=torch.bfloat16 if cuda and not full_precision else torch.float32,
            attn_implementation=attention,
        )
    return model.eval()


def ours(task: dict[str, Any]) -> dict[str, Any]:
    """Our engine's step."""
    import numpy as np
    import torch
    from neuron_step import chosen

    from seatools.engine.attention import NAME, register
    from seatools.engine.flops import mean_context, peak_flops, work_per_token
    from seatools.engine.loss import batch_loss
    from seatools.engine.optimise import MasterAdamW, clip_grad_norm
    from seatools.engine.rows import make_batch
    from seatools.engine.selected import select
    from seatools.engine.training_mode import prepare_for_training

    register()
    model = build(task, NAME)
    prepare_for_training(model, seq_len=task["row"], recompute=task["recompute"], compile_blocks=task["compile"])
    device = torch.device(task["device"])
    parts: list[tuple[str, Any]] = list(model.named_parameters())
    options: dict[str, Any] = {}
    if task["trained"] == "neurons":
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        parts = list(select(model, chosen(model)))
    elif task["shape"] == "8B":
        room = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
        options = {"state_dtype": torch.bfloat16, "masters": room > 130e9}
    optimizer = MasterAdamW(parts, **options)
    random = np.random.default_rng(0)
    length, vocabulary = task["row"] // 4, SHAPES[task["shape"]]["vocab_size"]
    rows = [
        [(random.integers(3, vocabulary, length, dtype=np.uint32), np.ones(length, np.uint8)) for _ in range(4)]
        for _ in range(task["rows"])
    ]
    batch = make_batch(rows, task["row"], 0, device)

    def step() -> float:
        optimizer.zero_grad()
        loss = batch_loss(model, batch)
        (loss.total / len(loss.nll)).backward()
        norm = clip_grad_norm(optimizer, 1.0)
        optimizer.step(RATE)
        return float(norm)

    result = timed(step, task, tokens=batch.input_ids.numel())
    work = work_per_token(model, parts, context=mean_context([length])).total
    peak = peak_flops(device)
    result |= {
        "tflops": result["tokens_per_second"] * work / 1e12,
        "note": ", ".join(f"{k} {v}" for k, v in options.items()),
    }
    return result | ({"mfu": result["tokens_per_second"] * work / peak} if peak else {})


def peer(task: dict[str, Any]) -> dict[str, Any]:
    """TRL's SFTTrainer on as many tokens; the times of its steps by a callback."""
    import torch
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from seatools.engine.flops import flops_per_token, mean_context, peak_flops

    cuda = task["device"] != "cpu"
    attention = next(
        (
            name
            for name, package in (("flash_attention_3", "flash_attn_interface"), ("flash_attention_2", "flash_attn"))
            if cuda and find_spec(package)
        ),
        "sdpa",
    )
    model = build(task, attention, full_precision=task["shape"] == "1B")  # autocast to bf16 then, as ours has masters
    length, vocabulary = task["row"] // 4, SHAPES[task["shape"]]["vocab_size"]
    torch.manual_seed(1)
    rows = [
        {"input_ids": torch.randint(3, vocabulary, (task["row"],)).tolist(), "seq_lengths": [length] * 4}
        for _ in range(task["rows"])
    ]
    adapter = None
    if task["trained"] == "neurons":
        from peft import LoraConfig

        adapter = LoraConfig(r=4, target_modules=["up_proj", "down_proj"])  # 0.1 % of the numbers too
    seconds: list[float] = []

    class Clock(TrainerCallback):
        """Seconds from one step's begin to its end."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - self.began)

    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = _tokenizer(Path(scratch), PreTrainedTokenizerFast)
        config = SFTConfig(
            output_dir=scratch, max_steps=task["steps"] + 2, per_device_train_batch_size=task["rows"], bf16=cuda,
            use_cpu=not cuda, packing=True, packing_strategy="bfd", max_length=task["row"], learning_rate=RATE,
            gradient_checkpointing=task["shape"] == "8B" and task["trained"] == "full", optim="adamw_torch_fused",
            dataset_kwargs={"skip_prepare_dataset": True}, report_to="none", save_strategy="no", disable_tqdm=True,
            torch_compile=False, logging_steps=1000,
        )  # fmt: skip
        SFTTrainer(
            model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
            peft_config=adapter, callbacks=[Clock()],
        ).train()  # fmt: skip
    best = min(seconds[2:])
    rate = task["rows"] * task["row"] / best
    result = {"tokens_per_second": rate, "seconds": best, "note": attention}
    if cuda:
        result["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        peak = peak_flops(torch.device(task["device"]))
        if peak and task["trained"] == "full":
            result["mfu"] = rate * flops_per_token(model, mean_context([length])) / peak
    return result


def _tokenizer(folder: Path, kind: Any) -> Any:
    from tokenizers import Tokenizer, models

    file = folder / "tokenizer.json"
    Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>")).save(str(file))
    return kind(tokenizer_file=str(file), unk_token="<unk>", eos_token="</s>", pad_token="</s>")


def timed(step: Callable[[], float], task: dict[str, Any], *, tokens: int) -> dict[str, Any]:
    """Two steps to warm up (the first compiles), then the best of `steps`."""
    import torch

    cuda = task["device"] != "cpu"
    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    step()
    best = float("inf")
    for _ in range(task["steps"]):
        began = time.perf_counter()
        step()  # reads the norm: the device is done
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    result: dict[str, Any] = {"tokens_per_second": tokens / best, "seconds": best, "first_step_seconds": first}
    return result | ({"peak_gb": torch.cuda.max_memory_allocated() / 1e9} if cuda else {})


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a model of 130,000 numbers in every place")
    parser.add_argument("--only", default="", help="cases that hold this")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--row", type=int, help="tokens of a row [4096; 64 if --tiny]")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        task = json.loads(arguments.worker)
        print(json.dumps((peer if task["who"] == "TRL" else ours)(task)))
        return
    import torch

    from seatools.engine.flops import CONVENTION

    if arguments.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --device cpu --tiny tries the script")
    print(f"MFU: {CONVENTION}", flush=True)
    measured: dict[str, Any] = {}
    row = arguments.row or (64 if arguments.tiny else 4096)
    for name, shape, trained, rows, recompute in CASES:
        for who in ("sea", *(("TRL",) if find_spec("trl") and not arguments.no_peer else ())):
            if arguments.only not in name:
                continue
            task = {
                "who": who, "shape": "tiny" if arguments.tiny else shape, "trained": trained, "rows": rows,
                "recompute": recompute, "steps": arguments.steps, "row": row,
                "device": arguments.device, "compile": arguments.device != "cpu" and not arguments.no_compile,
            }  # fmt: skip
            result, said = in_process(task)
            if result is None:
                print(f"{name:<11} {who:<4} failed: {said}", flush=True)
                continue
            measured[f"{name}, {who}"] = result
            shown = "  ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{value}" for key, value in result.items()
            )
            print(f"{name:<11} {who:<4} {shown}", flush=True)
    if not find_spec("trl") and not arguments.no_peer:
        print("trl is not installed here: nothing beside ours")
    if not arguments.no_record:
        from record import record

        gpu = {"gpu": torch.cuda.get_device_name()} if arguments.device != "cpu" else {}
        record("gpu_train", {"tiny": arguments.tiny, "convention": CONVENTION, "results": measured}, **gpu)


def in_process(task: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The worker's result, or None and the last line of what it said."""
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}"}
    command = [sys.executable, __file__, "--worker", json.dumps(task)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return json.loads(done.stdout.strip().splitlines()[-1]), ""


if __name__ == "__main__":
    main()
