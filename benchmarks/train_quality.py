"""What is kept and what is learnt: English mixed in or not, all weights or only the neurons of the language.

    python benchmarks/train_quality.py [--steps 400] [--seeds 3] [--sweep] [--only TEXT] [--work FOLDER]
    python benchmarks/train_report.py        # docs/train.md's table and docs/train-quality.png

`extended`: stories260K with new tokens (vocab-extend, embed-init) for Thai or Vietnamese, which it has never read.
`adapted`: that model after the run `all, 1:3` of seed 0, so one that has begun to speak the language; its neurons are
found anew. English in the mix is Common Voice sentences, or stories that the base itself tells (`told`), since what it
was trained on is not here. All weights are trained at a lower rate too (LOW). The rate is constant after a warm-up, so
that each point is the end of a run of that length. A run is one line of benchmarks/results/train_quality.jsonl; runs
that are there already are skipped.
`--sweep`: the learning rates of RATES on seed 0 for 150 steps, judged by held-out news, not by the sentences reported.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from record import RESULTS, record

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
SEA = [sys.executable, "-m", "seatools"]
NAME = "train_quality"
MODEL = "stories260K"
TEXTS = {"th": "mono/th_thaigov.jsonl", "vi": "mono/vi_wiki.jsonl"}
FLORES = {"th": "tha_Thai", "vi": "vie_Latn", "en": "eng_Latn"}
ROW, BATCH, WARMUP, ADD, HELD_OUT = 256, 4, 20, 1024, 60
POINTS = (0, 25, 50, 100, 200, 400)
# The smallest rates of --sweep whose held-out news is within 5 % of the best: larger ones only cost more English.
PEAK = {"all": 2e-3, "neurons": 2e-3, "new-rows+neurons": 4e-3}
LOW = 5e-4  # all weights once more at a lower rate: does it preserve as much as training few does?
RATES = {
    "all": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
    "neurons": (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2),
    "new-rows+neurons": (2e-3, 4e-3, 8e-3, 1.6e-2),
}
# Parts by tokens of (English, language); `told`: the English is told by the base.
MIXES = {"0:1": (0, 1), "1:3": (1, 3), "1:1": (1, 1), "1:3 told": (1, 3)}


class Run(NamedTuple):
    """One training run."""

    lang: str
    start: str  # extended or adapted
    trained: str
    mix: str
    seed: int
    lr: float
    steps: int


def runs(steps: int, seeds: int) -> Iterator[Run]:
    """Every run of the proof, seed by seed, so that what is there early is a whole comparison."""
    for seed in range(seeds):
        for trained in ("all", "new-rows+neurons", "neurons"):
            for mix in ("0:1", "1:3", "1:1"):
                yield Run("th", "extended", trained, mix, seed, PEAK[trained], steps)
        for mix in ("0:1", "1:3"):
            yield Run("th", "extended", "all", mix, seed, LOW, steps)
        yield Run("th", "extended", "all", "1:3 told", seed, PEAK["all"], steps)
        for trained in ("all", "neurons"):
            yield Run("th", "adapted", trained, "0:1", seed, PEAK[trained], steps)
    for trained in ("all", "neurons", "new-rows+neurons"):
        for mix in ("0:1", "1:3", "1:1"):
            yield Run("vi", "extended", trained, mix, 0, PEAK[trained], steps)


def sweep() -> Iterator[Run]:
    """The runs that the learning rates were chosen by."""
    for trained, rates in RATES.items():
        for rate in rates:
            yield Run("th", "extended", trained, "1:3", 0, rate, 150)


def lines_of(path: Path) -> list[str]:
    """Lines as \\n ends them: str.splitlines also cuts at characters that JSON strings may hold."""
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def sea(*arguments: object) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([*SEA, *map(str, arguments), "-q"], check=True, env=environment, stdout=subprocess.DEVNULL)


def prepare(work: Path) -> None:
    """Texts, extended models, neurons and mixes under `work`; what is there is kept."""
    work.mkdir(parents=True, exist_ok=True)
    english = lines_of(SHARED / "data/mono/en_commonvoice.txt")
    _write_once(work / "en.txt", "\n".join(line for n, line in enumerate(english) if n % 500) + "\n")
    _write_once(work / "en.held.json", json.dumps(english[::500][:HELD_OUT]))
    for lang, source in TEXTS.items():
        lines = lines_of(SHARED / "data" / source)
        _write_once(work / f"{lang}.jsonl", "".join(line + "\n" for n, line in enumerate(lines) if n % 12))
        held = [json.loads(line)["text"][:300] for line in lines[::12]][:HELD_OUT]
        _write_once(work / f"{lang}.held.json", json.dumps(held, ensure_ascii=False))
    if not (work / "told.jsonl").exists():
        held, told = tell_stories(HELD_OUT, seed=1), tell_stories(800, seed=2)
        _write_once(work / "told.held.json", json.dumps(held))
        _write_once(work / "told.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in told))
    for lang in TEXTS:
        tokenizer, model = work / f"{lang}.tok", work / f"{lang}.extended"
        if not model.exists():
            protect = f"en={work}/en.txt"
            sea(
                "vocab-extend",
                SHARED / "models" / MODEL,
                f"{lang}={work}/{lang}.jsonl",
                "--add",
                ADD,
                "--protect",
                protect,
                "-o",
                tokenizer,
            )
            sea("embed-init", SHARED / "models" / MODEL, "--tokenizer", tokenizer, "-o", model)
        find_neurons(work, lang, "extended")
        for mix, (english_part, part) in MIXES.items():
            out = work / f"{lang}.{mix.replace(':', '-').replace(' ', '-')}.safetensors"
            if not out.exists():
                source = work / ("told.jsonl" if "told" in mix else "en.txt")
                sources = [
                    f"{lang}={work}/{lang}.jsonl:{part}",
                    *([f"en={source}:{english_part}"] if english_part else []),
                ]
                sea(
                    "mix",
                    *sources,
                    "--tokenizer",
                    model,
                    "--unit",
                    "tokens",
                    "--budget",
                    "450k",
                    "--no-index",
                    "--pack",
                    ROW,
                    "-o",
                    out,
                )


def find_neurons(work: Path, lang: str, start: str) -> None:
    """The neurons of the language in WORK/LANG.START, beside English's."""
    out = work / f"{lang}.{start}.neurons.safetensors"
    if not out.exists():
        texts = ("--lang", f"{lang}={work}/{lang}.jsonl", "--lang", f"en={work}/en.txt")
        sea(
            "lsn-detect",
            work / f"{lang}.{start}",
            *texts,
            "--method",
            "lape",
            "--share",
            "0.05",
            "--max-tokens",
            "200k",
            "-o",
            out,
        )


def tell_stories(count: int, seed: int) -> list[str]:
    """Texts drawn from the base itself at temperature 1: what it was trained on, as near as can be had here."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = SHARED / "models" / MODEL
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    bos = torch.full((count, 1), model.config.bos_token_id)
    found = model.generate(bos, do_sample=True, max_new_tokens=220, top_k=0, pad_token_id=model.config.eos_token_id)
    return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in found]


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text, encoding="utf-8")


def held_out(tokenizer: Any, work: Path, lang: str) -> dict[str, tuple[list[Any], int]]:
    """{text: (documents, bytes)}: FLORES dev of the language and of English, and unseen text of what is trained on."""
    texts = {
        name: json.loads((work / f"{name}.held.json").read_text(encoding="utf-8")) for name in (lang, "en", "told")
    }
    sets = {
        f"{lang}.news" if lang == "th" else f"{lang}.wiki": texts[lang],
        "en.voice": texts["en"],
        "en.told": texts["told"],
    }
    for name in (lang, "en"):
        sets[f"{name}.flores"] = lines_of(SHARED / f"data/flores200/dev/{FLORES[name]}.txt")[:HELD_OUT]
    found = {}
    for name, lines in sets.items():
        documents = []
        for ids in tokenizer.encode_batch(lines):
            for start in range(0, len(ids), ROW - 1):
                window = np.array([tokenizer.bos_id, *ids[start : start + ROW - 1]], dtype=np.uint32)
                documents.append((window, np.ones(len(window), dtype=np.uint8)))
        found[name] = documents, sum(len(line.encode()) for line in lines)
    return found


def train(run: Run, work: Path, keep: Path | None = None) -> dict[str, Any]:
    """The run's curve: bits per byte of every held-out text after so many tokens. `keep`: where the model goes."""
    import torch

    from seatools.engine.load import load_model, save_model
    from seatools.engine.loss import summed_loss
    from seatools.engine.optimise import MasterAdamW, clip_grad_norm
    from seatools.engine.row_order import rows_of_step
    from seatools.engine.rows import make_batch
    from seatools.engine.schedule import learning_rate
    from seatools.engine.sequences import score_documents
    from seatools.engine.train_spec import parse_train
    from seatools.engine.trained_parts import choose_parts
    from seatools.streams.messages import Messages
    from seatools.text.packed import read_packed
    from seatools.text.tokenizer import load_tokenizer

    folder = work / f"{run.lang}.{run.start}"
    tokenizer = load_tokenizer(folder)
    packed = read_packed(work / f"{run.lang}.{run.mix.replace(':', '-').replace(' ', '-')}.safetensors")
    model = load_model(folder, device="cpu", dtype=torch.float32)
    spec = run.trained.replace("neurons", f"neurons={folder}.neurons.safetensors")
    parts = choose_parts(
        model,
        parse_train(spec),
        model_path=folder,
        neuron_langs=(run.lang,) if "neurons" in spec else (),
        first_new_row=512,
        vocab_size=tokenizer.vocab_size,
        messages=Messages(quiet=True),
    )
    optimizer = MasterAdamW(parts)
    sets = held_out(tokenizer, work, run.lang)
    points: dict[str, list[float]] = {name: [] for name in ("step", "tokens", *sets)}
    began = time.monotonic()
    for step in range(run.steps + 1):
        if step in POINTS or step == run.steps:
            points["step"].append(step)
            points["tokens"].append(step * BATCH * ROW)
            for name, (documents, num_bytes) in sets.items():
                nats = -float(score_documents(model, documents, tokenizer.pad_id or 0).sum())
                points[name].append(round(nats / math.log(2) / num_bytes, 5))
        if step == run.steps:
            break
        order = rows_of_step(step + 1, batch_size=BATCH, num_rows=packed.num_rows, seed=run.seed)
        loss, targets = summed_loss(model, make_batch([packed.row(row) for row in order], ROW))
        (loss / targets).backward()
        clip_grad_norm(optimizer, 1.0)
        optimizer.step(learning_rate(step, peak=run.lr, warmup_steps=WARMUP, total_steps=run.steps, kind="constant"))
        optimizer.zero_grad()
    if keep is not None:
        keep.mkdir()
        save_model(model, keep)
        for file in folder.iterdir():
            if not file.name.endswith(".safetensors") and not (keep / file.name).exists():
                (keep / file.name).write_bytes(file.read_bytes())
    share = optimizer.num_trained() / sum(parameter.numel() for parameter in model.parameters())
    seconds = round(time.monotonic() - began, 1)
    return {**run._asdict(), "trained_share": round(share, 5), "seconds": seconds, "points": points}


def main() -> None:
    """Prepare, then one run after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=POINTS[-1])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--only", default="", help="runs whose 'language start trained mix' holds this")
    parser.add_argument("--work", type=Path, default=Path("/tmp/sea-train-quality"))
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    prepare(arguments.work)
    path = RESULTS / f"{NAME}.jsonl"
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines()) if path.exists() else ()
    done = {Run(*(line[field] for field in Run._fields)) for line in lines}
    for run in sweep() if arguments.sweep else runs(arguments.steps, arguments.seeds):
        if run in done or arguments.only not in f"{run.lang} {run.start} {run.trained} {run.mix}":
            continue
        if run.start == "adapted" and not (arguments.work / f"{run.lang}.adapted").exists():
            first = Run(run.lang, "extended", "all", "1:3", 0, PEAK["all"], run.steps)
            train(first, arguments.work, arguments.work / f"{run.lang}.adapted")
            find_neurons(arguments.work, run.lang, "adapted")
        result = train(run, arguments.work)
        record(NAME, {"sweep": arguments.sweep, **result})
        curve = result["points"]
        ends = "; ".join(f"{name} {curve[name][0]:.3f} -> {curve[name][-1]:.3f}" for name in curve if "." in name)
        print(f"{' '.join(map(str, run))}: {ends}; {result['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
