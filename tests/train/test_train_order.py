"""The order of rows: that of packed data and of a pipe is kept, with its phases; records are shuffled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_llama import SPECIAL, read_metrics, write_jsonl

from seatools.text.packed import read_packed

Sea = Callable[..., Any]
STEPS, DOCS, WINDOW = 50, 200, 10
RUN = ("--batch-size", 2, "--epochs", 1, "--lr", "1e-3")
PLAN = """
unit = "docs"
budget = {docs}
[[source]]
name = "main"
files = "{folder}/main.jsonl"
[[source]]
name = "end"
files = "{folder}/end.jsonl"
weight = 0
[[phase]]
share = 0.9
[[phase]]
share = 0.1
weights = {{ main = 0, end = 1 }}
max_epochs = 4
"""


@pytest.fixture
def phased(tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The arguments of a mix of documents of 16 tokens, two a row: 180 of a's, then 20 of b's."""
    import seatools.train.data as data

    monkeypatch.setattr(data, "WINDOW", WINDOW)
    for name, letter in (("main", "a"), ("end", "b")):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": letter * 14}] * (DOCS if name == "main" else 5))
    (tmp_path / "mix.toml").write_text(PLAN.format(docs=DOCS, folder=tmp_path))
    return ["mix", "--plan", tmp_path / "mix.toml", "--tokenizer", model_path, "-q"]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The letters of the documents of each step that is taken."""
    import seatools.train.step as step_module

    taken: list[set[str]] = []
    real = step_module.make_batch

    def make_batch(documents: Any, *arguments: Any) -> Any:
        ids = np.unique(np.concatenate([ids for row in documents for ids, _ in row]))
        taken.append({letter for letter, id_ in letters().items() if id_ in ids})
        return real(documents, *arguments)

    monkeypatch.setattr(step_module, "make_batch", make_batch)
    return taken


def without_names(out: Path) -> list[Any]:
    """Its metrics, the sources' names left out: a pipe knows none."""
    return [line | {"sources": list(line["sources"].values())} for line in read_metrics(out)]


def letters() -> dict[str, int]:
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return {letter: len(SPECIAL) + alphabet.index(letter) for letter in "ab"}


def test_phases_survive_a_pipe_and_packed_data(
    sea: Sea, model_path: Path, tmp_path: Path, phased: list[object], steps: list[set[str]]
) -> None:
    mixed = sea(*phased)
    assert mixed.code == 0, mixed.stderr
    packed = ("--pack", 32, "--pack-window", WINDOW)
    assert sea(*phased, *packed, "-o", tmp_path / "p.safetensors").code == 0
    assert sea(*phased, *packed, "-o", tmp_path / "parts", "--shard-size", "3000").code == 0
    for name, data in (("pipe", "-"), ("file", tmp_path / "p.safetensors"), ("folder", tmp_path / "parts")):
        steps.clear()
        out = tmp_path / name
        seq_len = ("--seq-len", 32) if data == "-" else ()
        result = sea("train", model_path, data, "-o", out, *RUN, *seq_len, stdin=mixed.stdout)
        assert result.code == 0, result.stderr
        assert steps == [{"a"}] * (STEPS - STEPS // 10) + [{"b"}] * (STEPS // 10), name
        assert ", in the order of the data" in result.stderr
        assert json.loads((tmp_path / f"{name}.manifest.json").read_bytes())["options"]["order"] == "file"
        assert without_names(out) == without_names(tmp_path / "pipe")
    spool, whole = read_packed(tmp_path / "pipe" / "packed.safetensors"), read_packed(tmp_path / "p.safetensors")
    assert spool.input_ids.tolist() == whole.input_ids.tolist()
    assert spool.row_tokens.tolist() == whole.row_tokens.tolist()


def test_the_order_can_be_chosen(
    sea: Sea, model_path: Path, tmp_path: Path, phased: list[object], steps: list[set[str]]
) -> None:
    mixed = sea(*phased).stdout
    (tmp_path / "mixed.jsonl").write_bytes(mixed)
    for name, data, chosen, found in (
        ("a", tmp_path / "mixed.jsonl", "auto", "shuffled"),
        ("b", tmp_path / "mixed.jsonl", "file", "file"),
        ("c", "-", "shuffled", "shuffled"),
    ):
        steps.clear()
        command = ("train", model_path, data, "-o", tmp_path / name, *RUN, "--seq-len", 32, "--order", chosen)
        result = sea(*command, stdin=mixed)
        assert result.code == 0, result.stderr
        assert json.loads((tmp_path / f"{name}.manifest.json").read_bytes())["options"]["order"] == found
        assert (", shuffled" in result.stderr) == (found == "shuffled")
        early = [step for step in steps[: STEPS - STEPS // 10] if "b" in step]
        assert bool(early) == (found == "shuffled")
    assert sea("train", model_path, "-", "-o", tmp_path / "x", "--order", "best").code == 2


def test_a_run_is_resumed_in_its_own_order_only(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    short = ("--batch-size", 2, "--max-steps", 2, "--lr", "1e-3", "-q")
    spooled = ("train", model_path, data, "-o", tmp_path / "spooled", *short, "--seq-len", 32)
    assert sea(*spooled).code == 0
    changed = sea(*spooled, "--resume", "--order", "file")
    assert changed.code == 2 and "--order was shuffled, now file" in changed.stderr
    assert sea(*spooled, "--resume", "--order", "shuffled").code == 0
    packed = ("train", model_path, tmp_path / "spooled" / "packed.safetensors", "-o", tmp_path / "packed", *short)
    assert sea(*packed).code == 0
    changed = sea(*packed, "--resume", "--order", "shuffled")
    assert changed.code == 2 and "order was file, now shuffled" in changed.stderr


def test_a_dry_run_says_the_order(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    for order, said in (("auto", "rows: shuffled in each epoch"), ("file", "rows: in the order of the data")):
        result = sea("train", model_path, data, "-o", tmp_path / "x", "--order", order, "--dry-run")
        assert result.code == 0 and said in result.stderr.splitlines()
