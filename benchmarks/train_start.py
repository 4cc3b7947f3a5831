"""From the command to the first step on a CPU: seconds until the first line of metrics, `sea train` beside TRL.

    python benchmarks/train_start.py [--runs 3]

The same tiny model (stories260K), text (200 documents of Thai news, as JSON lines), rows of 256 tokens, four a step,
fp32, two steps. Ours is the command; the peer the shortest script of SFTTrainer that does the same (`trl sft` imports
more and starts it through accelerate). Both read, tokenise and pack the text. The clock stops when a line with the
first step's loss is on disk. `import` is a python that imports torch and transformers' model class, and no more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
PEER_PYTHON = Path(os.environ.get("PEER_PYTHON") or REPOSITORY / ".venv-peers/bin/python")
MODEL = SHARED / "models/stories260K"
TRL = """
import sys
from pathlib import Path
from datasets import load_dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer
model, data, out = sys.argv[1:]
class First(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **_):
        with open(out + ".jsonl", "a") as stream:
            stream.write(f"{state.global_step} {logs}\\n")
config = SFTConfig(
    output_dir=out, max_steps=2, per_device_train_batch_size=4, max_length=256, packing=True, learning_rate=1e-4,
    bf16=False, use_cpu=True, gradient_checkpointing=False, logging_steps=1, report_to="none", save_strategy="no",
    disable_tqdm=True, dataset_num_proc=None, model_init_kwargs={"dtype": "float32"},
)
data = load_dataset("json", data_files=data, split="train", cache_dir=out + ".cache")
SFTTrainer(model=model, args=config, train_dataset=data, callbacks=[First()]).train()
"""


def until_first_line(command: list[str], watched: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds until `watched` holds a line, and until the process has ended."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    first = None
    while process.poll() is None:
        if first is None and any("loss" in line for line in _lines(watched)):
            first = time.perf_counter() - began
        time.sleep(0.005)
    if process.returncode:
        assert process.stderr is not None
        raise SystemExit(f"{command[:4]} failed:\n{process.stderr.read()[-2000:]}")
    ended = time.perf_counter() - began
    return first or ended, ended


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return text.split("\n")[:-1]


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-record", action="store_true")
    arguments = parser.parse_args()
    best: dict[str, tuple[float, float]] = {}
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory(prefix="train-start-") as scratch:
        work = Path(scratch)
        lines = (SHARED / "data/mono/th_thaigov.jsonl").read_text(encoding="utf-8").split("\n")[:200]
        texts = [json.dumps({"text": json.loads(line)["text"]}, ensure_ascii=False) for line in lines]
        (work / "th.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
        for number in range(arguments.runs):
            ours, peer = work / f"sea{number}", work / f"trl{number}"
            options = [
                "--seq-len",
                "256",
                "--batch-size",
                "4",
                "--max-steps",
                "2",
                "--dtype",
                "fp32",
                "--device",
                "cpu",
                "-q",
            ]
            cases = {
                "sea train": (
                    [
                        sys.executable,
                        "-m",
                        "seatools",
                        "train",
                        str(MODEL),
                        str(work / "th.jsonl"),
                        "-o",
                        str(ours),
                        *options,
                    ],
                    ours / "metrics.jsonl",
                ),
                "import": (
                    [sys.executable, "-c", "import torch; from transformers import LlamaForCausalLM"],
                    work / "none",
                ),
            }
            if PEER_PYTHON.exists():
                cases["TRL"] = (
                    [str(PEER_PYTHON), "-c", TRL, str(MODEL), str(work / "th.jsonl"), str(peer)],
                    Path(f"{peer}.jsonl"),
                )
            for name, (command, watched) in cases.items():
                found = until_first_line(command, watched, environment)
                best[name] = min(best.get(name, found), found)
    for name, (first, ended) in best.items():
        print(
            f"{name:<10} {first:6.2f} s to the first step, {ended:6.2f} s in all; {first / best['sea train'][0]:.2f} x"
        )
    if not arguments.no_record:
        from record import record

        results = {name: {"first_step": first, "ended": ended} for name, (first, ended) in best.items()}
        record(
            "train_start",
            {"runs": arguments.runs, "results": results, "load": os.getloadavg()[0]},
            cores=os.cpu_count(),
        )


if __name__ == "__main__":
    main()
