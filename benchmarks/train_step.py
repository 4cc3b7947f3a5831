"""Tokens per second of our training step beside the plain transformers loop on the same model, rows and precision.

    python benchmarks/train_step.py [--device cuda] [--steps 8]

Peer: `model(input_ids, labels=...).loss.backward()` on the same packed rows (transformers builds all logits), clipping,
`torch.optim.AdamW(fused)`. Ours: engine.loss (no full logits) and MasterAdamW, all weights; then neurons only (0.1 %).
On a CPU a 15 M-parameter Llama with 32k vocabulary; on a GPU a 1B shape, sequence 4096, bf16.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from record import record
from transformers import LlamaConfig, LlamaForCausalLM

from seatools.engine.flops import flops_per_token, peak_flops
from seatools.engine.loss import summed_loss
from seatools.engine.optimise import MasterAdamW, clip_grad_norm
from seatools.engine.rows import make_batch
from seatools.engine.selected import select

SHAPES = {
    "cpu": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 32000, "seq_len": 512, "rows": 2},
    "cuda": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
             "num_key_value_heads": 8, "vocab_size": 128256, "seq_len": 4096, "rows": 2},
}  # fmt: skip


def build(shape: dict[str, int], device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
    """A Llama with random weights of the given shape."""
    torch.manual_seed(0)
    fields = {key: value for key, value in shape.items() if key not in ("seq_len", "rows")}
    config = LlamaConfig(**fields, max_position_embeddings=shape["seq_len"], tie_word_embeddings=True)
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config).to(device=device, dtype=dtype).eval()


def timed(step: Callable[[], None], steps: int, device: torch.device) -> tuple[float, float]:
    """Best seconds of a step, and peak memory in GB (CUDA only)."""
    best = float("inf")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(steps):
        began = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best, torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=6)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    shape = SHAPES[device.type]
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    random = np.random.default_rng(0)
    documents = [shape["seq_len"] // 4] * 4
    rows = [
        [(random.integers(3, shape["vocab_size"], n, dtype=np.uint32), np.ones(n, np.uint8)) for n in documents]
        for _ in range(shape["rows"])
    ]
    batch = make_batch(rows, shape["seq_len"], 0, device)
    tokens = batch.input_ids.numel()

    def ours(model: LlamaForCausalLM, optimizer: MasterAdamW) -> None:
        optimizer.zero_grad()
        loss, count = summed_loss(model, batch)
        (loss / count).backward()
        clip_grad_norm(optimizer, 1.0)
        optimizer.step(1e-4)

    def all_weights() -> Callable[[], None]:
        model = build(shape, device, dtype)
        optimizer = MasterAdamW(list(model.named_parameters()))
        return lambda: ours(model, optimizer)

    def neurons_only() -> Callable[[], None]:
        model = build(shape, device, dtype)
        chosen = []
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(False)
            if name.endswith(("up_proj.weight", "down_proj.weight")):
                dim = int(name.endswith("down_proj.weight"))
                chosen.append((name, dim, torch.arange(max(1, parameter.shape[dim] // 500))))
        optimizer = MasterAdamW(select(model, chosen))
        return lambda: ours(model, optimizer)

    def transformers_loop() -> Callable[[], None]:
        model = build(shape, device, dtype)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        labels = batch.input_ids.masked_fill(~batch.loss_mask, -100)

        def step() -> None:
            optimizer.zero_grad()
            arguments = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "labels": labels}
            model(**arguments, use_cache=False).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        return step

    cases = {"transformers loop": transformers_loop, "sea, all weights": all_weights, "sea, neurons only": neurons_only}
    measured = {}
    flops = flops_per_token(build(shape, device, dtype), shape["seq_len"] // 8)
    peak = peak_flops(device)
    for name, make in cases.items():
        seconds, memory = timed(make(), arguments.steps, device)
        measured[name] = {"tokens_per_second": tokens / seconds, "peak_gb": None if memory != memory else memory}
        if peak:
            measured[name]["mfu"] = tokens / seconds * flops / peak
        torch.cuda.empty_cache()
    reference = measured["transformers loop"]["tokens_per_second"]
    for name, row in measured.items():
        rate = row["tokens_per_second"]
        print(f"{name:<20} {rate:>10.0f} tokens/s  {rate / reference:5.2f} x  {row}")
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    record("train_step", {"shape": shape, "dtype": str(dtype), "results": measured}, **gpu)


if __name__ == "__main__":
    main()
