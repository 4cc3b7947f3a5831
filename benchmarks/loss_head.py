"""Time and peak memory of output head + cross entropy, forward and backward: ours beside the others'.

    python benchmarks/loss_head.py [--device cuda] [--runs 3] [--only NAME] [--tokens N --width N --pieces N]

naive: all logits, upcast to fp32, cross_entropy. trl: SFTTrainer's head (log-probabilities by tiles, with the entropy
and accuracy that it logs). liger: fused linear cross entropy (Triton, so CUDA only). torch: F.linear_cross_entropy, as
it chooses (auto) and by chunks of 256 tokens. products: the three matrix products that any of them needs, the floor.
sea: engine.loss; frozen: without the head's gradient, beside the naive and the products of a frozen head. On CUDA
8,192 tokens x 4,096 x 151,936 pieces in bf16; on a CPU 1,024 x 448 x 151,936 in fp32 (a small Qwen2). Each method is a
process of its own, in .venv-peers where its package is not here; memory is what comes on top of inputs and outputs'
owners (hidden states and weight), gradients included. A method that cannot run says so and is left out.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

REPOSITORY = Path(__file__).resolve().parent.parent
PEER_PYTHON = Path(os.environ.get("PEER_PYTHON") or REPOSITORY / ".venv-peers/bin/python")
SIZES = {"cuda": (8192, 4096, 151_936, "bfloat16"), "cpu": (1024, 448, 151_936, "float32")}
NEEDS = {"trl": "trl", "liger": "liger_kernel"}
METHODS = (
    "products", "naive", "trl", "liger", "torch auto", "torch 256", "sea",
    "products frozen", "naive frozen", "trl frozen", "liger frozen", "torch 256 frozen", "sea frozen",
)  # fmt: skip
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def products(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """No loss: the bare products, with the logits in the place of their gradient."""
    logits = torch.mm(hidden, weight.t())
    hidden.grad = torch.mm(logits, weight)
    if weight.requires_grad:
        weight.grad = torch.mm(logits.t(), hidden)
    return logits[0, 0]


def naive(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """As transformers' ForCausalLMLoss."""
    return F.cross_entropy(F.linear(hidden, weight).float(), targets, reduction="sum")


def trl(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """As SFTTrainer of TRL 1.16."""
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction
    from trl.trainer import utils

    chunk = utils._CHUNKED_LOGPROB_CHUNK_SIZE
    return -ChunkedLogProbFunction.apply(
        hidden, weight, None, targets, 1.0, chunk, None, 1.0, ("log_probs", "entropy", "is_top1")
    )[0].sum()


def liger(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """liger-kernel with the head's gradient summed in fp32, as ours is."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss = LigerFusedLinearCrossEntropyLoss(reduction="sum", accum_dtype=torch.float32)
    return loss(weight, hidden, targets)


def torch_chunked(chunk: int | None) -> Loss:
    """torch 2.13's own."""

    def loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        if chunk is None:
            options = torch.nn.LinearCrossEntropyOptions()
        else:
            options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=chunk, chunking_method=None)
        return F.linear_cross_entropy(hidden, weight, targets, reduction="sum", options=options)

    return loss


def ours(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """engine.loss."""
    from seatools.engine.loss import Head, linear_loss

    return linear_loss(hidden, targets, Head(weight, None, 1.0, None))


LOSSES: dict[str, Loss] = {
    "products": products, "naive": naive, "trl": trl, "liger": liger, "torch auto": torch_chunked(None),
    "torch 256": torch_chunked(256), "sea": ours,
}  # fmt: skip


def worker(task: dict[str, Any]) -> dict[str, float]:
    """Best seconds, CPU seconds, peak MB and the loss of one method, in this process."""
    method, device = task["method"], torch.device(task["device"])
    tokens, width, pieces, dtype = task["size"]
    torch.manual_seed(0)
    hidden = torch.randn(tokens, width).to(device, getattr(torch, dtype)).requires_grad_()
    weight = (torch.randn(pieces, width) * 0.02).to(device, getattr(torch, dtype))
    weight.requires_grad_("frozen" not in method)
    targets = torch.randint(pieces, (tokens,)).to(device)
    loss = LOSSES[method.removesuffix(" frozen")]

    def once() -> float:
        hidden.grad = weight.grad = None
        value = loss(hidden, weight, targets)
        if value.requires_grad and value.grad_fn is not None and not method.startswith("products"):
            value.backward()
        return float(value.detach())

    # Imports and thread pools first, so that they count for nothing.
    small = hidden.detach()[:8].clone().requires_grad_(), weight.detach()[:512].clone().requires_grad_()
    warm = loss(*small, targets[:8] % 512)
    if not method.startswith("products"):
        warm.backward()
    del small, warm
    gc.collect()
    seconds, processor, found = float("inf"), float("inf"), 0.0
    baseline = _reset_peak(device)
    for _ in range(task["runs"]):
        began, cpu = time.perf_counter(), time.process_time()
        found = once()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds, processor = min(seconds, time.perf_counter() - began), min(processor, time.process_time() - cpu)
    return {"seconds": seconds, "cpu_seconds": processor, "peak_mb": (_peak(device) - baseline) / 1e6, "loss": found}


def _reset_peak(device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark falls to what is held now
    return _status("VmRSS")


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else _status("VmHWM")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key + ":"))


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--pieces", type=int)
    parser.add_argument("--only", default="", help="methods that hold this")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(json.loads(arguments.worker))))
        return
    tokens, width, pieces, dtype = SIZES[torch.device(arguments.device).type]
    size = (arguments.tokens or tokens, arguments.width or width, arguments.pieces or pieces, dtype)
    print(f"{size[0]:,} tokens x {size[1]:,} x {size[2]:,} pieces, {dtype}, {arguments.device}", flush=True)
    measured: dict[str, Any] = {}
    for method in METHODS:
        if arguments.only not in method:
            continue
        task = {"method": method, "device": arguments.device, "size": size, "runs": arguments.runs}
        result, said = in_process(method, task)
        if result is None:
            print(f"{method:<18} cannot run here: {said}", flush=True)
            continue
        measured[method] = result
        floor = measured.get("products frozen" if "frozen" in method else "products", result)["seconds"]
        print(
            f"{method:<18} {result['seconds'] * 1e3:>8.0f} ms {result['seconds'] / floor:>6.2f} x products "
            f"{result['cpu_seconds'] * 1e3:>8.0f} CPU ms {result['peak_mb']:>8.0f} MB  loss {result['loss']:.1f}",
            flush=True,
        )
    if not arguments.no_record:
        from record import record

        gpu = {"gpu": torch.cuda.get_device_name()} if "cuda" in arguments.device else {"cores": os.cpu_count()}
        record("loss_head", {"size": size, "results": measured, "load": os.getloadavg()[0]}, **gpu)


def in_process(method: str, task: dict[str, Any]) -> tuple[dict[str, float] | None, str]:
    """The worker's result, or None and the last line of what it said."""
    from importlib.util import find_spec

    package = NEEDS.get(method.removesuffix(" frozen"))
    python = sys.executable if package is None or find_spec(package) or not PEER_PYTHON.exists() else str(PEER_PYTHON)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [python, __file__, "--worker", json.dumps(task)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return json.loads(done.stdout.splitlines()[-1]), ""


if __name__ == "__main__":
    main()
