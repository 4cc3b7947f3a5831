"""What the methods of `sea embed-init` are worth after training: bits per byte, on real text, from the same steps.

    python benchmarks/embed_init_quality.py [--steps 100] [--seeds 3] [--processes 2] [--work FOLDER] [--only TEXT]
    python benchmarks/embed_init_quality.py --report     # docs/embed-init.md and its plot from the newest results

Bases: stories260K (bytes for what it cannot spell, but it has read none of them); the same after 1,000 steps on
English, Thai and Burmese as its own tokenizer spells them, as larger bases know such languages (`-bytes`); both also
with a head of their own (the embedding's copy, so that input and output rows can differ: `-untied`); babyllama-tok105
(no bytes: every Thai or Burmese letter is UNK to it, so that no method knows anything). Each is extended by --add
tokens for Thai (government news) and for Burmese (VOA, brought from Zawgyi to Unicode), then trained all weights
alike: the same rows in the same order for every method, three seeds, each of which orders the rows and draws Gaussian
and xavier rows anew. Measured on 60 sentences of FLORES-200 dev, which nothing was trained on, at the steps of POINTS;
English too, for what is lost. `omp` has for donor the base itself, adapted with another seed and three times the steps
(there is no other model here that knows the languages).
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, record

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
SEA = [str(Path(sys.executable).parent / "sea")]
NAME = "embed_init_quality"
LANGS = {
    "th": ("mono/th_thaigov.jsonl", "flores200/dev/tha_Thai.txt"),
    "my": ("mono/my_voa.jsonl", "flores200/dev/mya_Mymr.txt"),
}
ENGLISH = "flores200/dev/eng_Latn.txt"
SENTENCES = 60
POINTS = (0, 5, 10, 25, 50, 100)
ROW, BATCH, WARMUP = 256, 2, 10
TIED = (
    "subword-mean", "weighted-last", "weighted-first", "last-piece", "first-piece", "mean", "gaussian",
    "gaussian-diagonal", "gaussian-full", "xavier", "focus", "omp", "distill",
)  # fmt: skip
UNTIED = (
    "subword-mean", "weighted-last/weighted-first", "weighted-first/weighted-last", "last-piece/first-piece",
    "subword-mean/first-piece", "subword-mean/mean", "mean", "gaussian", "xavier", "distill", "distill/weighted-first",
)  # fmt: skip
BYTES = tuple(method for method in TIED if method not in ("gaussian-diagonal", "gaussian-full", "distill"))
BYTES_UNTIED = tuple(method for method in UNTIED if "distill" not in method)
UNINFORMED = ("subword-mean", "mean", "gaussian", "gaussian-diagonal", "xavier", "omp")


BASES = {
    "stories260K": TIED,
    "stories260K-untied": UNTIED,
    "stories260K-bytes": BYTES,
    "stories260K-bytes-untied": BYTES_UNTIED,
    "babyllama-tok105": UNINFORMED,
}


def arms() -> Iterator[tuple[str, str, str]]:
    """(base, language, method) of every curve; `none` is the base without new tokens."""
    for base, methods in BASES.items():
        for lang in LANGS:
            for method in (*methods, *(("none",) if "stories" in base else ())):
                yield base, lang, method


def sea(*arguments: str | Path) -> None:
    subprocess.run([*SEA, *map(str, arguments), "-q"], check=True, cwd=REPOSITORY)


def prepare(work: Path, add: int) -> None:
    """Texts, the untied base, extended tokenizers and packed rows under `work`; what is there is kept."""
    from seatools.text.zawgyi import to_unicode

    for lang, (source, _) in LANGS.items():
        target = work / f"{lang}.jsonl"
        if not target.exists():
            lines = (SHARED / "data" / source).read_text(encoding="utf-8").rstrip("\n").split("\n")
            texts = [json.loads(line)["text"] for line in lines]
            if lang == "my":
                texts = [to_unicode(text) for text in texts]
            target.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts))
    for base in BASES:
        folder = work / base
        if not folder.exists():
            _make_base(work, base)
        for lang in LANGS:
            tokenizer = work / f"{base}.{lang}.tok"
            if not tokenizer.exists():
                text = f"{lang}={work / lang}.jsonl"
                sea("vocab-extend", folder, text, "--add", str(add), "--protect", f"en={SHARED}/data/mono/en_commonvoice.txt", "-o", tokenizer)  # fmt: skip # noqa: E501
            for name, path in ((f"{base}.{lang}", tokenizer), (f"{base}.{lang}.none", folder)):
                packed = work / f"{name}.safetensors"
                if not packed.exists():
                    sea(
                        "mix",
                        f"{lang}={work / lang}.jsonl",
                        "--no-index",
                        "--tokenizer",
                        path,
                        "--pack",
                        str(ROW),
                        "-o",
                        packed,
                    )


def _make_base(work: Path, base: str) -> None:
    folder = work / base
    if base.endswith("-untied"):
        shutil.copytree(work / base.removesuffix("-untied"), folder)
        folder.chmod(0o755)
        _untie(folder)
    elif base.endswith("-bytes"):
        texts = [*(f"{lang}={work / lang}.jsonl" for lang in LANGS), f"en={SHARED}/data/mono/en_commonvoice.txt"]
        plain, rows = work / base.removesuffix("-bytes"), work / f"{base}.rows.safetensors"
        sea("mix", *texts, "--no-index", "--tokenizer", plain, "--budget", "3M", "--pack", str(ROW), "-o", rows)
        sea("train", plain, rows, "-o", folder, "--max-steps", "1000", "--batch-size", "8", "--lr", "1e-3")
    else:
        shutil.copytree(SHARED / "models" / base, folder)


def _untie(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))


def initialised(work: Path, base: str, lang: str, method: str, seed: int) -> Path:
    """The folder of the model before training."""
    if method == "none":
        return work / base
    out = work / "init" / f"{base}.{lang}.{method.replace('/', '+')}.{seed}"
    if out.exists():
        return out
    if seed and seed < 100 and not method.startswith(("gaussian", "xavier")):
        return initialised(work, base, lang, method, 0)
    own, _, head = method.partition("/")
    extra: list[str | Path] = ["--head-method", head] if head else []
    if own in ("focus", "distill"):
        extra += ["--text", f"{lang}={work / lang}.jsonl", "--max-tokens", "100K"]
    if own == "distill":
        extra += ["--steps", "50"]
    if own == "omp":
        extra += ["--donor", work / "donor" / f"{base}.{lang}"]
    tokenizer = work / f"{base}.{lang}.tok"
    sea("embed-init", work / base, "--tokenizer", tokenizer, "--method", own, *extra, "--seed", str(seed), "-o", out)
    return out


def make_donor(work: Path, base: str, lang: str, steps: int, lr: float) -> None:
    """The base with the same new tokens, trained longer: the only model here that knows both vocabularies."""
    out = work / "donor" / f"{base}.{lang}"
    if not out.exists():
        start = initialised(work, base, lang, "subword-mean", 100)
        data = work / f"{base}.{lang}.safetensors"
        sea("train", start, data, "-o", out, "--max-steps", str(3 * steps), "--batch-size", str(BATCH), "--lr", str(lr), "--seed", "100")  # fmt: skip # noqa: E501


def curve(work: Path, base: str, lang: str, method: str, seed: int, steps: int, lr: float) -> dict[str, Any]:
    """Bits per byte of the language and of English at POINTS."""
    import torch

    from seatools.engine.load import load_model
    from seatools.engine.loss import summed_loss
    from seatools.engine.optimise import MasterAdamW, clip_grad_norm
    from seatools.engine.row_order import rows_of_step
    from seatools.engine.rows import make_batch
    from seatools.engine.schedule import learning_rate
    from seatools.text.packed import read_packed
    from seatools.text.tokenizer import load_tokenizer

    torch.set_num_threads(1)
    folder = initialised(work, base, lang, method, seed)
    tokenizer = load_tokenizer(folder)
    packed = read_packed(work / f"{base}.{lang}{'.none' if method == 'none' else ''}.safetensors")
    model = load_model(folder, device=torch.device("cpu"), dtype=torch.float32)
    model.train()
    optimizer = MasterAdamW(list(model.named_parameters()))
    evaluated = {name: _sentences(tokenizer, SHARED / "data" / path) for name, path in ((lang, LANGS[lang][1]), ("en", ENGLISH))}  # fmt: skip # noqa: E501
    points: dict[str, list[float]] = {"step": [], lang: [], "en": []}
    for step in range(steps + 1):
        if step in POINTS or step == steps:
            points["step"].append(step)
            for name, (docs, num_bytes) in evaluated.items():
                if name == "en" and 0 < step < steps:
                    continue
                points[name].append(round(_bits(model, docs) / num_bytes, 5))
        if step == steps:
            break
        rows = rows_of_step(step + 1, batch_size=BATCH, num_rows=packed.num_rows, seed=seed)
        loss, targets = summed_loss(model, make_batch([packed.row(row) for row in rows], ROW))
        (loss / targets).backward()
        clip_grad_norm(optimizer, 1.0)
        optimizer.step(learning_rate(step, peak=lr, warmup_steps=WARMUP, total_steps=steps))
        optimizer.zero_grad()
    return {"base": base, "lang": lang, "method": method, "seed": seed, "points": points}


def _sentences(tokenizer: Any, path: Path) -> tuple[list[Any], int]:
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")[:SENTENCES]
    ids = [np.array([tokenizer.bos_id, *tokenizer.encode(line)][:ROW], dtype=np.uint32) for line in lines]
    whole = [len(tokenizer.encode(line)) for line in lines]
    # A sentence longer than the context (bytes only: babyllama never, stories without new tokens) counts in part.
    share = [min(1.0, (ROW - 1) / length) for length in whole]
    num_bytes = sum(len(line.encode()) * part for line, part in zip(lines, share, strict=True))
    return [(row, np.ones(len(row), dtype=np.uint8)) for row in ids], num_bytes


def _bits(model: Any, docs: list[Any]) -> float:
    from seatools.engine.sequences import score_documents

    return float(-score_documents(model, docs, 0).sum() / math.log(2))


def _task(arguments: tuple[Any, ...]) -> dict[str, Any]:
    os.environ["OMP_NUM_THREADS"] = "1"
    return curve(*arguments)


def measure(args: argparse.Namespace) -> None:
    work = Path(args.work)
    for folder in ("init", "donor"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    prepare(work, args.add)
    curves_path = work / "curves.jsonl"
    known = [json.loads(line) for line in curves_path.read_text().splitlines()] if curves_path.exists() else []
    done = {(row["base"], row["lang"], row["method"], row["seed"]) for row in known}
    wanted = [arm for arm in arms() if args.only in " ".join(arm)]
    for base, lang in dict.fromkeys(arm[:2] for arm in wanted if arm[2] == "omp"):
        make_donor(work, base, lang, args.steps, args.lr)
    tasks = [(work, *arm, seed, args.steps, args.lr) for seed in range(args.seeds) for arm in wanted if (*arm, seed) not in done]  # fmt: skip # noqa: E501
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool, open(curves_path, "a") as stream:
        began = time.monotonic()
        for number, row in enumerate(pool.imap_unordered(_task, tasks), start=1):
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            last = row["points"][row["lang"]]
            minutes = (time.monotonic() - began) / number * (len(tasks) - number) / 60
            print(f"{row['base']} {row['lang']} {row['method']} seed {row['seed']}: {last[0]:.3f} -> {last[-1]:.3f}; {minutes:.0f} min left", flush=True)  # fmt: skip # noqa: E501
    rows = [json.loads(line) for line in curves_path.read_text().splitlines()]
    record(NAME, {"steps": args.steps, "add": args.add, "lr": args.lr, "row": ROW, "batch": BATCH, "curves": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--add", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="arms whose 'base lang method' holds this")
    parser.add_argument("--work", default="/tmp/sea-embed-init-quality")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    if not args.report:
        measure(args)
    else:
        from embed_init_report import write_report

        write_report(json.loads((RESULTS / f"{NAME}.jsonl").read_text().splitlines()[-1]), REPOSITORY / "docs")


if __name__ == "__main__":
    main()
