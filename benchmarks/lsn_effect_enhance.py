"""Stage `enhance` of lsn_effect.py: one low-resource language trained four ways on the same rows.

The language is Javanese, of which the base has read a little; the text is the rest of its Wikipedia, and no other
language is mixed in. `sea train` trains all weights, the language's own neurons (by magnitude, FFN), or random ones of
the same number per layer (another draw for each seed). LoRA (peft, in .venv-peers) is of rank 4 on gate, up and down,
as many numbers as the neurons have. It runs in a plain loop with torch's AdamW over the same batches, loss, schedule
and clipping; what differs is that its factors are not decayed (sea decays the neurons' weights by 0.1 times the rate);
alpha is twice the rank, dropout 0. Each way has its own rates, chosen by held-out Wikipedia on seed 0, not by FLORES;
at the best, further seeds (order of the rows). AdamW, cosine, 5 % warm-up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from lsn_effect_base import BATCH, FLORES, LOW, REPOSITORY, ROW, SHARED, lines_of, sea
from record import RESULTS, record

PEER_PYTHON = Path(os.environ.get("PEER_PYTHON") or REPOSITORY / ".venv-peers/bin/python")
RESULT = RESULTS / "lsn_effect.jsonl"
RANK, WARMUP = 4, 0.05
RATES = {
    "all weights": (3e-4, 1e-3, 3e-3),
    "own neurons": (3e-3, 1e-2, 3e-2),
    "random neurons": (3e-3, 1e-2, 3e-2),
    "LoRA": (2e-3, 6e-3, 2e-2),
}


class Run(NamedTuple):
    """One training run."""

    kind: str
    lr: float
    seed: int
    steps: int


def enhance(work: Path, *, steps: int, seeds: int, lines: int, only: str) -> None:
    """The sweep on seed 0, then the best rate of each kind on the other seeds; runs that are there are skipped."""
    packed = work / "more.safetensors"
    if not packed.exists():
        sea("mix", f"{LOW}={work}/more.jsonl", "--tokenizer", work / "base", "--pack", ROW, "--no-index", "-o", packed)
    if not any(line["kind"] == "before" for line in _done(lines)):
        bits, held = scores(work / "base", work, lines)
        record("lsn_effect", {"stage": "enhance", "lines": lines, **Run("before", 0, 0, steps)._asdict(), "trained": 0,
                              "bits": bits, "held": held, "seconds": 0})  # fmt: skip
    kinds = [kind for kind in RATES if only in kind]
    for run in (Run(kind, lr, 0, steps) for kind in kinds for lr in RATES[kind]):
        _once(run, work, lines)
    for seed in range(1, seeds):
        for kind in kinds:
            sweep = [line for line in _done(lines) if (line["kind"], line["seed"], line["steps"]) == (kind, 0, steps)]
            best = min(sweep, key=lambda line: float(line["held"]))
            _once(Run(kind, best["lr"], seed, steps), work, lines)


def _done(lines: int) -> list[dict[str, Any]]:
    """The results of this stage so far, on so many FLORES lines."""
    found = [json.loads(line) for line in lines_of(RESULT)] if RESULT.exists() and RESULT.stat().st_size else []
    return [line for line in found if line["stage"] == "enhance" and line["lines"] == lines]


def _once(run: Run, work: Path, lines: int) -> None:
    """The run, trained, scored and recorded, unless it is there already."""
    if any(all(line[key] == value for key, value in run._asdict().items()) for line in _done(lines)):
        return
    out = work / f"enhanced/{run.kind.replace(' ', '-')}.{run.lr}.{run.seed}"
    _remove(out)
    out.parent.mkdir(exist_ok=True)
    began = time.monotonic()
    trained = _lora(run, work, out) if run.kind == "LoRA" else _train(run, work, out)
    seconds = round(time.monotonic() - began, 1)
    bits, held = scores(out, work, lines)
    found = {"stage": "enhance", "lines": lines, **run._asdict(), "trained": trained, "bits": bits, "held": held,
             "seconds": seconds}  # fmt: skip
    record("lsn_effect", found)
    _remove(out)
    others = sum(value for lang, value in bits.items() if lang != LOW) / (len(bits) - 1)
    print(f"{run}: held {held:.4f}, {LOW} {bits[LOW]:.4f}, others {others:.4f}, {seconds} s", flush=True)


def _remove(out: Path) -> None:
    if out.is_dir():
        shutil.rmtree(out)
    out.unlink(missing_ok=True)
    out.with_name(f"{out.name}.manifest.json").unlink(missing_ok=True)


def _train(run: Run, work: Path, out: Path) -> int:
    chosen: list[object] = []
    if run.kind != "all weights":
        neurons = work / "sets/magnitude.safetensors"
        if run.kind == "random neurons":
            like, neurons = neurons, work / f"sets/random.{run.seed}.safetensors"
            if not neurons.exists():
                sea("lsn-detect", "select", work / "stats.safetensors", "--method", "random", "--like", like,
                    "--seed", run.seed, "-o", neurons, workers=False)  # fmt: skip
        chosen = ["--neurons", neurons, "--neuron-langs", LOW]
    sea(
        "train", work / "base", work / "more.safetensors", "-o", out, *chosen, "--seq-len", ROW, "--batch-size", BATCH,
        "--max-steps", run.steps, "--lr", run.lr, "--warmup", WARMUP, "--order", "shuffled", "--seed", run.seed,
        "--no-plot", "-q",
    )  # fmt: skip
    manifest = json.loads(out.with_name(f"{out.name}.manifest.json").read_text())
    return int(manifest["counts"]["trained_parameters"])


def _lora(run: Run, work: Path, out: Path) -> int:
    """In a process of the peers' environment, with this repository's batches."""
    task = {"base": str(work / "base"), "data": str(work / "more.safetensors"), "out": str(out), **run._asdict()}
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "SEA_SHARED": str(SHARED)}
    command = [str(PEER_PYTHON), __file__, json.dumps(task)]
    said = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return int(said.stdout.split()[-1])


def lora_worker(task: dict[str, Any]) -> None:
    """Trains, merges and writes a whole model; prints how many numbers were trained."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from seatools.engine.loss import summed_loss
    from seatools.engine.row_order import rows_of_step
    from seatools.engine.rows import make_batch
    from seatools.engine.schedule import learning_rate
    from seatools.text.packed import read_packed

    torch.set_num_threads(1)
    torch.manual_seed(task["seed"])
    base = AutoModelForCausalLM.from_pretrained(task["base"], dtype=torch.float32)
    config = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=["gate_proj", "up_proj", "down_proj"],
        task_type="CAUSAL_LM",
    )  # fmt: skip
    model = get_peft_model(base, config)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.95), weight_decay=0.0)
    packed = read_packed(Path(task["data"]))
    steps = task["steps"]
    model.eval()
    for step in range(steps):
        order = rows_of_step(step + 1, batch_size=BATCH, num_rows=packed.num_rows, seed=task["seed"])
        batches = [make_batch([packed.row(row) for row in order[at : at + 2]], ROW) for at in range(0, BATCH, 2)]
        targets = 0
        for batch in batches:
            loss, count = summed_loss(model.get_base_model(), batch)
            loss.backward()
            targets += int(count)
        for parameter in trained:
            assert parameter.grad is not None
            parameter.grad /= targets
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        warmup = round(WARMUP * steps)
        optimizer.param_groups[0]["lr"] = learning_rate(step, peak=task["lr"], warmup_steps=warmup, total_steps=steps)
        optimizer.step()
        optimizer.zero_grad()
    model.merge_and_unload().save_pretrained(task["out"])
    for file in Path(task["base"]).iterdir():
        target = Path(task["out"]) / file.name
        if file.is_file() and file.suffix in (".model", ".json") and not target.exists():
            target.write_bytes(file.read_bytes())
    print(sum(parameter.numel() for parameter in trained))


def scores(model: Path, work: Path, lines: int) -> tuple[dict[str, float], float]:
    """Bits per byte of every language's FLORES lines, and of the held-out text of the low one."""
    flores = [f"{lang}={work}/flores/{lang}.txt" for lang in FLORES]
    bits = _perplexity(model, flores, ["--limit", lines], work)
    (held,) = _perplexity(model, [f"{LOW}={work}/held.jsonl"], [], work).values()
    return bits, held


def _perplexity(model: Path, data: list[str], flags: list[object], work: Path) -> dict[str, float]:
    out = work / f"scores.{os.getpid()}.jsonl"
    arguments = [part for one in data for part in ("--data", one)]
    sea("eval", model, "perplexity", *arguments, *flags, "--seq-len", ROW, "--force", "-q", "-o", out)
    rows = [json.loads(line) for line in lines_of(out)]
    _remove(out)
    return {row["lang"]: row["value"] for row in rows if row["metric"] == "bits_per_byte"}


if __name__ == "__main__":
    lora_worker(json.loads(sys.argv[1]))
