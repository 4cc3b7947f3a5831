"""A step of training 0.1 % of a model, by neurons, beside full training and the other ways to train so little.

    python benchmarks/neuron_step.py [--device cuda] [--steps 6] [--shape llama|qwen2] [--row 512]

full: all weights, engine.loss and MasterAdamW. neurons: some rows of up_proj and columns of down_proj in every layer
(engine.selected). masked: the reference way (DAMO-NLP-SG/multilingual_analysis): full gradients, clipped, then zeroed
but for those rows and columns, AdamW over all weights. shira: peft's SHiRA, as many numbers at random places of the
same weights (peft from .venv-peers, where the whole runs then). All take the same packed rows and our loss head, step
in turn, and the best step counts. Static memory: the bytes of all tensors that live between two steps, gradients
included, by storage; given as a ratio to the weights.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PEER_PYTHON = Path(os.environ.get("PEER_PYTHON") or REPOSITORY / ".venv-peers/bin/python")
SHARE = 1e-3
RATE = 1e-4
Step = Callable[[], None]
# The shapes of train_peers.py; on CUDA Llama 3.2's 1B.
GPU_SHAPE = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}  # fmt: skip


def build(shape: dict[str, Any], device: str) -> Any:
    """The model with random weights, the same each time."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    dtype = torch.bfloat16 if "cuda" in device else torch.float32
    config = AutoConfig.for_model(**{key: value for key, value in shape.items() if key != "architectures"})
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    return model.to(device).eval()


def chosen(model: Any) -> list[tuple[str, int, Any]]:
    """(name, dim, index) of rows and columns that are SHARE of all parameters, spread over all layers."""
    import torch

    named = dict(model.named_parameters())
    total = sum(parameter.numel() for parameter in named.values())
    ups = [name for name in named if name.endswith("up_proj.weight")]
    width, inner = named[ups[0]].shape[1], named[ups[0]].shape[0]
    count = max(1, round(total * SHARE / (2 * width * len(ups))))
    picked = []
    for name in ups:
        index = torch.linspace(0, inner - 1, count).round().long()
        picked += [(name, 0, index), (name.replace("up_proj", "down_proj"), 1, index)]
    return picked


def full(model: Any, batch: Any) -> Step:
    """All weights."""
    from seatools.engine.optimise import MasterAdamW

    return _ours(model, MasterAdamW(list(model.named_parameters())), batch)


def neurons(model: Any, batch: Any) -> Step:
    """Rows and columns only."""
    from seatools.engine.optimise import MasterAdamW
    from seatools.engine.selected import select

    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return _ours(model, MasterAdamW(select(model, chosen(model))), batch)


def _ours(model: Any, optimizer: Any, batch: Any) -> Step:
    from seatools.engine.loss import summed_loss
    from seatools.engine.optimise import clip_grad_norm

    def step() -> None:
        optimizer.zero_grad()
        loss, count = summed_loss(model, batch)
        (loss / count).backward()
        clip_grad_norm(optimizer, 1.0)
        optimizer.step(RATE)

    return step


def masked(model: Any, batch: Any) -> Step:
    """Full gradients, of which few are kept."""
    import torch

    from seatools.engine.loss import summed_loss

    kept = {name: (dim, index.to(model.device)) for name, dim, index in chosen(model)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss, count = summed_loss(model, batch)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for name, parameter in model.named_parameters():
            grad, place = parameter.grad, kept.get(name)
            if grad is None:
                continue
            part = None if place is None else grad.index_select(*place)
            grad.zero_()
            if place is not None and part is not None:
                grad.index_copy_(*place, part)
        optimizer.step()

    return step


def shira(model: Any, batch: Any) -> Step:
    """peft's sparse high-rank adapter on the same weights."""
    import torch
    from peft import ShiraConfig, get_peft_model

    from seatools.engine.loss import summed_loss

    total = sum(parameter.numel() for parameter in model.parameters())
    weights = [
        parameter
        for name, parameter in model.named_parameters()
        if name.endswith(("up_proj.weight", "down_proj.weight"))
    ]
    rank = max(1, round(total * SHARE / sum(sum(weight.shape) for weight in weights)))
    warnings.filterwarnings("ignore", module="peft|transformers")
    config = ShiraConfig(r=rank, target_modules=["up_proj", "down_proj"], random_seed=0)
    adapted = get_peft_model(model, config)
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    inner = adapted.base_model.model

    def step() -> None:
        optimizer.zero_grad()
        loss, count = summed_loss(inner, batch)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    return step


CASES = {"full": full, "neurons": neurons, "masked": masked, "shira": shira}


def live_bytes() -> int:
    """Bytes of the storages of all tensors that live."""
    import torch

    gc.collect()
    found = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor) and thing.device.type != "meta":
            for tensor in (thing, thing.grad if thing.is_leaf else None):
                if tensor is not None:
                    storage = tensor.untyped_storage()
                    found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--shape", choices=("llama", "qwen2"), default="llama", help="on a CPU")
    parser.add_argument("--row", type=int, help="tokens of a row [512; 4096 on CUDA]")
    parser.add_argument("--no-record", action="store_true")
    arguments = parser.parse_args()
    if find_spec("peft") is None and PEER_PYTHON.exists() and Path(sys.executable) != PEER_PYTHON:
        environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}"}
        os.execve(PEER_PYTHON, [str(PEER_PYTHON), *sys.argv], environment)
    import numpy as np
    import torch
    from train_peers import SHAPES

    from seatools.engine.rows import make_batch

    cuda = "cuda" in arguments.device
    shape = GPU_SHAPE if cuda else SHAPES[arguments.shape]
    row = arguments.row or (4096 if cuda else 512)
    random = np.random.default_rng(0)
    documents = [
        (random.integers(3, shape["vocab_size"], row // 4, dtype=np.uint32), np.ones(row // 4, np.uint8))
        for _ in range(4)
    ]
    batch = make_batch([documents], row, 0, arguments.device)
    cases = [name for name in CASES if name != "shira" or find_spec("peft")]
    if "shira" not in cases:
        print("shira left out: peft is neither here nor in .venv-peers")
    steps: dict[str, Step] = {}
    static: dict[str, float] = {}
    for name in cases:
        before = live_bytes()
        model = build(shape, arguments.device)
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        steps[name] = CASES[name](model, batch)
        steps[name]()
        static[name] = (live_bytes() - before) / weights
        del model
    seconds = dict.fromkeys(cases, float("inf"))
    processor = dict.fromkeys(cases, float("inf"))
    for _ in range(arguments.steps):
        for name in cases:
            began, cpu = time.perf_counter(), time.process_time()
            steps[name]()
            if cuda:
                torch.cuda.synchronize()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
            processor[name] = min(processor[name], time.process_time() - cpu)
    for name in cases:
        print(
            f"{name:<8} {seconds[name] * 1e3:>7.0f} ms a step, {seconds[name] / seconds['full']:.2f} x full "
            f"({processor[name] / processor['full']:.2f} x CPU time); holds {static[name]:.3f} x the weights"
        )
    if not arguments.no_record:
        from record import record

        gpu = {"gpu": torch.cuda.get_device_name()} if cuda else {"cores": os.cpu_count()}
        results = {
            name: {"seconds": seconds[name], "cpu_seconds": processor[name], "static": static[name]} for name in cases
        }
        record(
            "neuron_step",
            {"shape": shape, "row": row, "share": SHARE, "results": results, "load": os.getloadavg()[0]},
            **gpu,
        )


if __name__ == "__main__":
    main()
