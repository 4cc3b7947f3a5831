"""The folder in which the examples of every `--help` run as printed: their names, with small contents.

Texts are those of examples/quickstart; MODEL is a random Llama of two layers with its tokenizer. Made once per session
by the commands themselves; an example with a new name in it needs a line here.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_llama

REPOSITORY = Path(__file__).resolve().parent.parent
TEXTS = REPOSITORY / "examples" / "quickstart" / "texts"
BASE = REPOSITORY / "examples" / "quickstart" / "base"
LINES = 60  # of each text: enough for every example, and few enough that all of them take seconds

Run = Callable[..., Any]  # the `sea` fixture, in the current folder


def write_inputs(folder: Path) -> None:
    """What a user brings along: texts, records, tasks' data, tokenizers and models."""
    import zstandard

    texts = {code: _lines(code) for code in ("th", "en", "lo", "my", "id")}
    names = {"thai": "th", "english": "en", "lao": "lo", "fr": "id"}  # no French is at hand, and none is looked at
    for name, code in ({code: code for code in texts} | names).items():
        (folder / f"{name}.txt").write_text("\n".join(texts[code]) + "\n", "utf-8")
    for code in ("th", "en"):
        (folder / f"flores_{code}.txt").write_text("\n".join(_lines(code, last=6)) + "\n", "utf-8")
    records = {code: [{"text": text, "lang": code} for text in lines] for code, lines in texts.items()}
    (folder / "th").mkdir()
    for name, rows in {
        "th": records["th"], "thai": records["th"], "en": records["en"], "lo": records["lo"], "raw": records["th"],
        "voa": records["my"], "web": records["th"] + records["lo"] + records["en"], "good": records["th"],
        "xquad_th": [{"text": " ".join(texts["th"][:10])}],
        "xcopa_th": [_xcopa(texts["th"], row) for row in range(3)], "mgsm_th": [_mgsm(row) for row in range(2)],
        "exemplars": [_mgsm(row) | {"answer": f"ทีละขั้น คำตอบคือ {row + 3}"} for row in range(8)],
    }.items():  # fmt: skip
        _write(folder / f"{name}.jsonl", rows)
    for name in ("en.jsonl", "th.jsonl"):
        whole = (folder / name).read_bytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(whole, mtime=0))
        (folder / f"{name}.zst").write_bytes(zstandard.compress(whole))
    shutil.copy(folder / "th.jsonl.zst", folder / "th" / "a.jsonl.zst")
    for name, source in {"sft": "chat", "chat": "chat", "prompts": "prompts"}.items():
        kept = (TEXTS / f"{source}.jsonl").read_text("utf-8").splitlines()[::4]
        (folder / f"{name}.jsonl").write_text("\n".join(kept) + "\n", "utf-8")
    prompts = [json.loads(line) for line in (folder / "prompts.jsonl").read_text("utf-8").splitlines()]
    _write(folder / "responses.jsonl", [row | {"responses": _lines(row["lang"])[:2]} for row in prompts])
    for name in ("prefs", "en_prefs", "th_prefs"):
        _write(folder / f"{name}.jsonl", [row | {"chosen": "แมวนอน", "rejected": "the cat"} for row in prompts])
    asked = [{"prompt": row["prompt"], "lang": "en", "reference": "the cat"} for row in prompts]
    for name in ("english", "gold"):
        _write(folder / f"{name}.jsonl", asked)
    plan = ['budget = "20k"']
    plan += [
        f'[[source]]\nname = "{code}"\nfiles = "{code}.jsonl"\nweight = {part}' for code, part in (("en", 1), ("th", 3))
    ]
    (folder / "mix.toml").write_text("\n".join(plan) + "\n", "utf-8")
    for number, name in enumerate(("MODEL", "BASE", "OTHER")):
        _model(folder / name, seed=max(0, number - 1))
    for name in ("OLD", "TOK"):
        _tokenizer(folder / name)
    _byte_level_tokenizer(folder / "QWEN")


def write_made(sea: Run, folder: Path) -> None:
    """What commands have made of it, which others go on with; `sea` runs in `folder`."""

    def run(line: str) -> None:
        done = sea(*line.split())
        assert done.code == 0, f"sea {line}\n{done.stderr}"

    for name in ("NEW", "extended"):
        run(f"vocab-extend OLD th=th.txt --add 60 -o {name} -q")
    shutil.copytree(folder / "extended", folder / "NLLB")
    run("embed-init MODEL --tokenizer extended -o EXTENDED -q")
    run("mix th=th.jsonl:1 en=en.jsonl:1 --tokenizer TOK --budget 4k --pack 64 -o packed.safetensors -q")
    run("lsn-detect stats MODEL --lang th=th.jsonl --lang en=en.jsonl -o stats.safetensors -q")
    for code in ("th", "en"):
        run(f"lsn-detect stats MODEL --lang {code}={code}.jsonl -o {code}.stats -q")
    for shard in (0, 1):
        run(f"lsn-detect stats MODEL --lang th=th.jsonl --shard {shard}/2 -o th{shard}.safetensors -q")
    shutil.copy(folder / "en.stats", folder / "en.safetensors")
    run("lsn-detect select stats.safetensors --method magnitude --top 20 -o neurons.safetensors -q")
    for layer, code in enumerate(("th", "lo")):
        trained = f"--train layers={layer} --max-steps 1 --save-patch {code}.patch.safetensors"
        run(f"train MODEL {code}.jsonl -o made-{code} {trained} -q")
    run("train apply-patch BASE th.patch.safetensors -o PATCHED -q")
    shutil.copytree(folder / "MODEL", folder / "PLAIN")  # MODEL for lsn-detect: what follows blurs its neurons
    _make_answer(folder / "MODEL")
    (folder / "OUT").mkdir()
    run("train MODEL th.jsonl -o OUT/th --train layers=0 --max-steps 1 -q")
    run("eval MODEL xcopa --data th=xcopa_th.jsonl -o base.jsonl --samples base.samples.jsonl -q")
    for name in ("mine.samples", "adapted.samples", "scores.samples", "samples", "shard-0"):
        shutil.copy(folder / "base.samples.jsonl", folder / f"{name}.jsonl")
    run(
        "eval MODEL xcopa --data th=xcopa_th.jsonl --deactivate neurons.safetensors:th --samples s.jsonl -o s.scores -q"
    )
    (folder / "mine.toml").write_bytes(sea("eval", "tasks", "xcopa").stdout)


def _lines(code: str, last: int | None = None) -> list[str]:
    lines = (TEXTS / f"{code}.txt").read_text("utf-8").splitlines()
    return lines[:LINES] if last is None else lines[-last:]


def _write(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def _xcopa(texts: list[str], row: int) -> dict[str, Any]:
    premise, first, second = texts[row], texts[row + 10], texts[row + 20]
    return {"premise": premise, "choice1": first, "choice2": second, "question": "cause", "label": row % 2, "idx": row}


def _mgsm(row: int) -> dict[str, Any]:
    return {"question": f"มีแมว {row} ตัว กับอีก 3 ตัว รวมกี่ตัว", "answer": None, "answer_number": row + 3}


def _tokenizer(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(BASE / name, folder / name)


def _byte_level_tokenizer(folder: Path) -> None:
    """One that splits text by a regular expression, as Qwen's does."""
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    tiny_llama.write_tokenizer(folder)
    engine = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pattern = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+|\s+"), "isolated")
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine.pre_tokenizer = pre_tokenizers.Sequence([pattern, by_bytes])
    engine.save(str(folder / "tokenizer.json"))


def _model(folder: Path, *, seed: int) -> None:
    tiny_llama.write_model(folder, seed=seed, vocab_size=448, max_position_embeddings=2048, intermediate_size=64)
    _tokenizer(folder)


def _make_answer(folder: Path) -> None:
    """Let a random model end its answers after some ten tokens, and never write a control character.

    All embeddings are given a direction, so every hidden state has it; the head's rows of those tokens lean along it.
    """
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] += 0.4
    weights["lm_head.weight"][:260] -= 1  # special tokens and bytes
    weights["lm_head.weight"][tiny_llama.EOS] += 1.04
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
