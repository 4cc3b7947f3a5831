"""What detection costs over the bare forward pass, beside the two released procedures; and what rounding costs.

    python benchmarks/lsn_detect.py [--device cpu|cuda] [--shape 100m|8b] [--seq-len 512] [--rows 2] [--rounds 4]
    python benchmarks/lsn_detect.py --precision-report MODEL=TEXT ...

Random weights of a Llama shape (100m: 768 wide, 12 layers, 2,048 FFN neurons, 12 heads on 4, 32,000 pieces; 8b: that of
Llama-3-8B) and random tokens in documents of `--doc-len` packed into rows; on a CPU fp32 in one thread, on a GPU bf16.
`bare forward` is the decoder without its head on the same rows. Cases take turns, the order reversed each round; a
ratio is the median over the rounds of the case's time over that of the bare forward of the same round (CPU: time of
the process, so that others on the machine count less). Memory is the peak of a process of its own (CPU) or what torch
allocated (CUDA), weights included. The procedures of the releases are in lsn_detect_released.py, which says what
differs. `--precision-report`: every statistic of a trained model in float32 and bfloat16 against float64.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lsn_detect_released import ReleasedLape, ReleasedPlnd
from record import record
from transformers import LlamaConfig, LlamaForCausalLM

from seatools.engine.loss import forward_hidden
from seatools.engine.neuron_layers import find_layers
from seatools.lsn_detect.corpora import Context, PackedBatch, packed_batches
from seatools.lsn_detect.ffn_statistics import FFNStatistics
from seatools.lsn_detect.map_statistics import MapStatistics
from seatools.lsn_detect.options import TOP_K
from seatools.lsn_detect.statistics import Collector, observe
from seatools.lsn_detect.taylor import TaylorScores, observe_with_loss
from seatools.lsn_detect.value_statistics import ValueStatistics

NAME = "lsn_detect"
SHAPES = {
    "100m": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12,
             "num_key_value_heads": 4, "vocab_size": 32_000},
    "8b": {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128_256},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 500},
}  # fmt: skip
BARE = "bare forward"
PARTS = {"FFN": ("ffn",), "FFN, V, O": ("ffn", "v", "o"), "FFN, V, O, Q, K": ("ffn", "q", "k", "v", "o")}
PLND_BYTES, PLND_BYTES_CUDA = 1 << 30, 12 << 30  # of PLND's tensor at once, of which several live; released: no limit
ALL = ("ffn", "q", "k", "v", "o")


def build(shape: str, seq_len: int, device: torch.device, dtype: torch.dtype) -> Any:
    """A Llama with random weights, made in `dtype` on `device`."""
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=max(seq_len, 2048), tie_word_embeddings=False)
    config._attn_implementation = "sdpa"
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    return model.eval()


def collectors(model: Any, parts: tuple[str, ...]) -> list[Collector]:
    """Those of `parts`, fresh, with the default shares for documents in which a neuron is among the most important."""
    layers = find_layers(model)
    made: list[Collector] = [FFNStatistics(layers, ("ffn",), top_k=TOP_K)]
    if "v" in parts:
        made.append(ValueStatistics(layers, ("v", "o"), top_k=TOP_K))
    if "q" in parts:
        made.append(MapStatistics(model, layers, parts=("q", "k"), top_k=TOP_K))
    return made


class Work:
    """A model, tokens, and the cases that are timed on them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.device = torch.device(arguments.device)
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.model = build(arguments.shape, arguments.seq_len, self.device, dtype)
        self.taylor, self.peers = arguments.taylor, arguments.peers
        length = arguments.doc_len or arguments.seq_len
        number = arguments.rows * arguments.seq_len // length
        ids = np.random.default_rng(0).integers(3, SHAPES[arguments.shape]["vocab_size"], (number, length))
        self.documents = [torch.from_numpy(row).to(self.device) for row in ids]
        contexts = [Context(row.astype(np.uint32), i % 2) for i, row in enumerate(ids)]
        self.batches: list[PackedBatch] = list(
            packed_batches(contexts, seq_len=arguments.seq_len, batch_tokens=arguments.batch_tokens, pad_id=0,
                           device=self.device)
        )  # fmt: skip
        self.windows = torch.from_numpy(ids.reshape(-1, arguments.seq_len)).to(self.device)
        self.tokens = ids.size
        config = self.model.config
        one_head = config.head_dim * length**2 * 4
        room = PLND_BYTES_CUDA if self.device.type == "cuda" else PLND_BYTES
        self.heads = 0 if one_head * config.num_attention_heads <= room else max(1, room // one_head)

    def cases(self) -> dict[str, Callable[[], object]]:
        """Name -> one pass over the tokens; state is made anew in each, as for a language."""
        found: dict[str, Callable[[], object]] = {BARE: self.bare}
        for name, parts in PARTS.items():
            found[name] = lambda parts=parts: self.ours(parts)
        if self.taylor:
            found["Taylor alone"] = self.with_loss
        if self.peers:
            found["LAPE as released"] = lambda: ReleasedLape(self.model).run(self.windows)
            found["PLND as released, no Q, K"] = lambda: ReleasedPlnd(self.model, maps=False).run(self.documents)
            found["PLND as released"] = lambda: ReleasedPlnd(self.model, heads=self.heads).run(self.documents)
        return found

    def bare(self) -> None:
        with torch.inference_mode():
            for batch in self.batches:
                forward_hidden(self.model, batch.batch)

    def ours(self, parts: tuple[str, ...]) -> dict[Any, Any]:
        made = collectors(self.model, parts)
        observe(self.model, made, self.batches)
        return {place: arrays for one in made for place, arrays in one.arrays().items()}

    def with_loss(self) -> dict[Any, Any]:
        collector = TaylorScores(self.model, find_layers(self.model), parts=ALL)
        observe_with_loss(self.model, [collector], self.batches, None)
        return collector.arrays()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of the process on a CPU, of the clock on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - began
    began = time.process_time()
    work()
    return time.process_time() - began


def timed(work: Work, rounds: int, slow: int) -> dict[str, list[float]]:
    """Seconds of every round of every case, in turns; the released PLND, far slower, only in the first `slow`."""
    cases = work.cases()
    found: dict[str, list[float]] = {name: [] for name in cases}
    work.bare()
    for number in range(rounds):
        names = list(cases) if number % 2 == 0 else list(reversed(cases))
        for name in names:
            if "PLND" in name and number >= slow:
                continue
            found[name].append(seconds(cases[name], work.device))
    return found


def peak_of(name: str, arguments: argparse.Namespace, work: Work | None) -> float:
    """Peak memory of one case in GB, weights included."""
    if work is not None and work.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        work.cases()[name]()
        return torch.cuda.max_memory_allocated() / 1e9
    keys = ("device", "shape", "seq_len", "rows", "doc_len", "batch_tokens")
    values = {key: vars(arguments)[key] for key in keys if vars(arguments)[key] is not None}
    said = [f"--{key.replace('_', '-')}={value}" for key, value in values.items()]
    command = [sys.executable, __file__, *said, "--memory-of", name]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(answer.stdout.split()[-1])


def compare(arguments: argparse.Namespace) -> None:
    """Time and memory of all cases, printed and recorded."""
    measured: dict[str, dict[str, float]] = {}
    times_work = Work(arguments)
    times = timed(times_work, arguments.rounds, arguments.slow_rounds)
    tokens, heads = times_work.tokens, times_work.heads
    cuda = times_work.device.type == "cuda"
    for name, values in times.items():
        ratios = [value / bare for value, bare in zip(values, times[BARE], strict=False)]
        measured[name] = {
            "ratio": round(statistics.median(ratios), 4), "ratio_of_best": round(min(values) / min(times[BARE]), 4),
            "tokens_per_second": round(tokens / min(values), 1),
        }  # fmt: skip
    if not cuda:
        times_work = None  # its memory would be a child's too
    for name in measured if arguments.memory else ():
        measured[name]["peak_gb"] = round(peak_of(name, arguments, times_work), 3)
    kind = f"{arguments.shape}, {arguments.rows} rows of {arguments.seq_len}, documents of "
    print(f"{kind}{arguments.doc_len or arguments.seq_len} tokens, {arguments.device}")
    print(f"{'':28}{'ratio':>9}{'of best':>9}{'tokens/s':>12}{'peak GB':>9}")
    for name, row in measured.items():
        peak = f"{row['peak_gb']:9.2f}" if "peak_gb" in row else ""
        print(f"{name:28}{row['ratio']:9.3f}{row['ratio_of_best']:9.3f}{row['tokens_per_second']:12.0f}{peak}")
    if arguments.peers and heads:
        print(f"PLND's tensor is made for {heads} heads at a time here; as released, for all at once")
    keys = ("shape", "seq_len", "rows", "doc_len", "rounds", "batch_tokens")
    device = torch.cuda.get_device_name() if cuda else "cpu"
    asked = {key: vars(arguments)[key] for key in keys}
    record(NAME, {**asked, "plnd_heads": heads, "measured": measured}, device=device, threads=torch.get_num_threads())


def precision(sources: Iterable[str], max_tokens: int) -> None:
    """Errors of each statistic of trained models, printed as a table and recorded."""
    from seatools.lsn_detect.corpora import CorpusCounts, contexts
    from seatools.streams.records import Rejects
    from seatools.text.documents import Documents
    from seatools.text.tokenizer import load_tokenizer

    rows = []
    for source in sources:
        folder, _, text = source.partition("=")
        documents = Documents(load_tokenizer(Path(folder)), add_eos=False)
        windows = list(
            contexts([text], documents, CorpusCounts(), seq_len=256, min_doc_tokens=8, max_tokens=max_tokens,
                     rejects=Rejects("skip"), workers=1)
        )  # fmt: skip
        told = {dtype: _statistics(folder, windows, dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16)}
        for dtype in (torch.float32, torch.bfloat16):
            for name in ("importance", "squares", "absolute", "positive", "worst_rank", "taylor"):
                for parts in (("ffn",), ("v", "o"), ("q", "k")):
                    found = _errors(told[torch.float64], told[dtype], name, parts)
                    if found is not None:
                        dtype_name = str(dtype).removeprefix("torch.")
                        rows.append({"model": Path(folder).name, "dtype": dtype_name, "statistic": name,
                                     "parts": ", ".join(parts), **found})  # fmt: skip
    print("| model | weights and pass | statistic | parts | median | 99th percentile | largest | top tenth kept |")
    print("|---|---|---|---|---:|---:|---:|---:|")
    for row in rows:
        numbers = f"{row['median']:.1e} | {row['p99']:.1e} | {row['largest']:.1e} | {row['jaccard']:.3f}"
        print(f"| {row['model']} | {row['dtype']} | {row['statistic']} | {row['parts']} | {numbers} |")
    record(f"{NAME}_precision", {"max_tokens": max_tokens, "errors": rows})


def _statistics(folder: str, windows: list[list[Context]], dtype: torch.dtype) -> dict[Any, dict[str, np.ndarray]]:
    from seatools.engine.load import load_model

    # Of an fp32 checkpoint the rounding of its weights to bfloat16 is part of the error, as it is for a user.
    model = load_model(Path(folder), device="cpu", dtype=dtype)
    batches = [batch for window in windows
               for batch in packed_batches(window, seq_len=256, batch_tokens=2048, pad_id=0, device="cpu")]  # fmt: skip
    made = collectors(model, ALL)
    observe(model, made, batches)
    taylor = TaylorScores(model, find_layers(model), parts=ALL)
    observe_with_loss(model, [taylor], batches, None)
    found: dict[Any, dict[str, np.ndarray]] = {}
    for collector in (*made, taylor):
        for place, arrays in collector.arrays().items():
            found.setdefault(place, {}).update(arrays)
    return found


def _errors(exact: dict[Any, dict[str, np.ndarray]], rounded: Any, name: str, parts: tuple[str, ...]) -> Any:
    """Relative errors over all neurons of `parts`; the mean over places of the Jaccard of the best tenth."""
    errors, kept = [], []
    for place, arrays in exact.items():
        if place[1] not in parts or name not in arrays:
            continue
        one, two = (np.asarray(values[place][name], dtype=np.float64) for values in (exact, rounded))
        one, two = (x.max(0) if name == "worst_rank" else x.sum(0) for x in (one, two))
        errors.append(np.abs(one - two) / np.maximum(np.abs(one), 1e-300 if one.all() else 1))
        top = max(1, len(one) // 10)
        sign = 1 if name == "worst_rank" else -1  # the first rank is the best
        best = [set(np.argsort(sign * x, kind="stable")[:top].tolist()) for x in (one, two)]
        kept.append(len(best[0] & best[1]) / len(best[0] | best[1]))
    if not errors:
        return None
    flat = np.concatenate(errors)
    return {
        "median": float(np.median(flat)), "p99": float(np.quantile(flat, 0.99)), "largest": float(flat.max()),
        "jaccard": float(np.mean(kept)),
    }  # fmt: skip


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", default="100m", choices=sorted(SHAPES))
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--doc-len", type=int, help="tokens of a document [the row]")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--slow-rounds", type=int, default=2, help="rounds with the released PLND")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--taylor", action="store_true")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--precision-report", nargs="+", metavar="MODEL=TEXT")
    parser.add_argument("--max-tokens", type=int, default=10_000, help="of --precision-report")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.precision_report:
        precision(arguments.precision_report, arguments.max_tokens)
    elif arguments.memory_of:
        arguments.taylor = True
        Work(arguments).cases()[arguments.memory_of]()
        print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6))
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
