"""Time and memory of `sea embed-init` beside transformers' resize and beside `cp -r`, on a synthetic Llama of 4.4 GB.

    python benchmarks/embed_init.py [--layers 9] [--shard-mb 300] [--add 2048] [--runs 2] [--no-peer] [--work FOLDER]

Random bf16, embedding and head of 32,000 x 4,096, Mistral's layers, in 20 shards cut as transformers cuts them: two
hold the matrices, as two of 30 do in a 70B. Ours is the whole command (digests of all files, nearest tokens, fsync of
OUT), copying and with --link; the peer is `from_pretrained`, `resize_token_embeddings(mean_resizing=True)` and
`save_pretrained` in bf16, tokenizer left out. `cp -r` leaves its data in memory and ours is on disk when it ends, so
`cp -r` with fsync stands beside it. Each run starts when nothing waits to be written and the model has been read; all
in turn, --runs times, the best of each counts. Peak is ru_maxrss, in which mapped pages of files count too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import own_process
from record import record

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
ROWS, COLUMNS, INNER, KEYS = 32_000, 4_096, 14_336, 1_024
THAI = ("tha_Thai", "mya_Mymr", "khm_Khmr", "lao_Laoo")

PEER = """
import sys, torch
from transformers import AutoModelForCausalLM
source, target, rows, shard = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
model.resize_token_embeddings(int(rows), mean_resizing=True)
model.save_pretrained(target, max_shard_size=shard)
"""


def tensors(layers: int) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes in the order in which transformers stores them."""
    shapes: list[tuple[str, tuple[int, ...]]] = [("model.embed_tokens.weight", (ROWS, COLUMNS))]
    for layer in range(layers):
        parts = {
            "self_attn.q_proj": (COLUMNS, COLUMNS), "self_attn.k_proj": (KEYS, COLUMNS),
            "self_attn.v_proj": (KEYS, COLUMNS), "self_attn.o_proj": (COLUMNS, COLUMNS),
            "mlp.gate_proj": (INNER, COLUMNS), "mlp.up_proj": (INNER, COLUMNS), "mlp.down_proj": (COLUMNS, INNER),
            "input_layernorm": (COLUMNS,), "post_attention_layernorm": (COLUMNS,),
        }  # fmt: skip
        shapes += [(f"model.layers.{layer}.{part}.weight", shape) for part, shape in parts.items()]
    return [*shapes, ("model.norm.weight", (COLUMNS,)), ("lm_head.weight", (ROWS, COLUMNS))]


def write_model(folder: Path, layers: int, shard_bytes: int) -> int:
    """The checkpoint; returns the bytes of its tensors."""
    from seatools.streams.tensors import write_header

    folder.mkdir(parents=True)
    shards: list[list[tuple[str, tuple[int, ...], int]]] = [[]]
    for name, shape in tensors(layers):
        size = 2 * int(np.prod(shape))
        if shards[-1] and sum(row[2] for row in shards[-1]) + size > shard_bytes:
            shards.append([])
        shards[-1].append((name, shape, size))
    random = np.random.default_rng(0)
    weight_map: dict[str, str] = {}
    for number, rows in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        with (folder / file).open("xb") as stream:
            write_header(stream, [(name, "BF16", shape, size) for name, shape, size in rows], {"format": "pt"})
            for name, _, size in rows:
                weight_map[name] = file
                for start in range(0, size, 64 << 20):
                    bits = np.frombuffer(random.bytes(min(64 << 20, size - start)), dtype=np.uint16)
                    stream.write(((bits & 0x80FF) | 0x3C00).tobytes())  # +-0.008 to 0.03
    total = sum(size for rows in shards for _, _, size in rows)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": ROWS, "hidden_size": COLUMNS,
        "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 8,
        "tie_word_embeddings": False, "dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    for file in (SHARED / "tokenizers/mistral-v1-spm").iterdir():
        shutil.copyfile(file, folder / file.name)
    return total


def timed(command: Sequence[object], model: Path, out: Path) -> dict[str, float]:
    """Run it with `model` in memory and nothing waiting to be written: seconds, CPU seconds, peak MB. `out` goes."""
    own_process.settle(model.iterdir())
    taken = own_process.timed(command, cwd=REPOSITORY)
    shutil.rmtree(out)
    return taken


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--shard-mb", type=int, default=300)
    parser.add_argument("--add", type=int, default=2048)
    parser.add_argument("--runs", type=int, default=2, help="the best counts")
    parser.add_argument("--no-peer", action="store_true", help="leave transformers out")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--keep", action="store_true", help="do not delete the model, and use it if it is there")
    parser.add_argument("--work", type=Path, help="where 15 GB fit")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="embed-init-"))
    try:
        run(arguments, work)
    finally:
        if not arguments.keep:
            shutil.rmtree(work, ignore_errors=True)


def run(arguments: argparse.Namespace, work: Path) -> None:
    """All of it, in the folder `work`."""
    model, extended, out = work / "model", work / "tokenizer", work / "out"
    if not model.exists():
        own_process.alone("embed_init", "write_model", model, arguments.layers, arguments.shard_mb * 1_000_000)
    size = sum(file.stat().st_size for file in model.iterdir())
    sea = [sys.executable, "-m", "seatools"]
    if not extended.exists():
        texts = [f"{lang[:2]}={SHARED}/data/flores200/dev/{lang}.txt" for lang in THAI]
        base = SHARED / "tokenizers/mistral-v1-spm"
        subprocess.run(
            [*sea, "vocab-extend", base, *texts, "--add", str(arguments.add), "-o", extended],
            cwd=REPOSITORY,
            check=True,
        )
    new = sum(1 for _ in (extended / "new_tokens.jsonl").open("rb"))
    shards = len(list(model.glob("*.safetensors")))
    matrices = 2 * 2 * ROWS * COLUMNS
    print(f"{size:,} bytes in {shards} shards; the two matrices {matrices:,}; {new:,} new tokens", flush=True)
    ours = [*sea, "embed-init", model, "--tokenizer", extended, "-o", out, "--force"]
    fsync = 'cp -r "$0" "$1" && find "$1" -type f -exec sync {} +'
    cases: dict[str, list[object]] = {
        "cp -r": ["cp", "-r", model, out],
        "cp -r, fsync": ["sh", "-c", fsync, model, out],
        "sea": ours,
        "sea --link": [*ours, "--link"],
        "transformers": [sys.executable, "-c", PEER, model, out, ROWS + new, f"{arguments.shard_mb}MB"],
    }
    if arguments.no_peer:
        del cases["transformers"]
    best: dict[str, dict[str, float]] = {}
    load = os.getloadavg()[0]
    for number in range(arguments.runs):
        for name, command in cases.items():
            result = timed(command, model, out)
            print(f"  run {number + 1}, {name:<14} {result['seconds']:7.1f} s", flush=True)
            if name not in best or result["seconds"] < best[name]["seconds"]:
                best[name] = result
    copied, ratios = best["cp -r"]["seconds"], {}
    for name, result in best.items():
        ratios[name] = {
            "to_cp": result["seconds"] / copied,
            "to_sea": result["seconds"] / best["sea"]["seconds"],
            "peak_to_matrices": result["peak_mb"] * 1e6 / matrices,
        }
        to_cp, to_sea, peak = ratios[name].values()
        seconds, cpu_seconds, peak_mb = result.values()
        print(
            f"{name:<14} {seconds:7.1f} s {cpu_seconds:6.1f} CPU s {peak_mb:6.0f} MB peak, {peak:5.2f} x the matrices; "
            f"{to_cp:6.2f} x cp -r, {to_sea:6.2f} x sea",
            flush=True,
        )
    if not arguments.no_record:
        about = {"bytes": size, "shards": shards, "matrices_bytes": matrices, "new_tokens": new, "runs": arguments.runs}
        record("embed_init", {**about, "results": best, "ratios": ratios, "load": load}, cores=os.cpu_count())


if __name__ == "__main__":
    main()
