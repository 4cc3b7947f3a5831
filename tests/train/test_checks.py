"""What could only fail hours later is refused before data are read, in a dry run too, and nothing is written."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import TEXTS, write_jsonl, write_model, write_tokenizer

Sea = Callable[..., Any]
CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SHORT = ("--seq-len", 32, "--batch-size", 2, "--max-steps", 2, "--lr", "1e-3", "--no-plot", "-q")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--save-patch", "nodir/p.safetensors"), "no such folder"),
        (("--save-patch", "."), "is a folder"),
        (("--save-patch", "MODEL/model.safetensors", "--force"), "the model that it is of"),
        (("--save-patch", "p.safetensors", "--from-config"), "--from-config begins afresh"),
        (("--eval-data", "step=DATA"), "metrics.jsonl has step already"),
        (("--seq-len", 100_000), "beyond the model's"),
        (("--train", "layers=0", "--embedding-lr", "1e-3"), "trains no embedding"),
        (("--train", "embeddings", "--optimizer", "muon"), "trains no whole matrix"),
        (("--track", "nothing"), "unknown --track"),
        (("--eval-every", 2), "needs something to evaluate"),
        (("-o", "MODEL/out"), "lies inside the model"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_cannot_end_well_is_refused_at_once(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, options: tuple[object, ...], said: str,
    dry: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seatools.train.session.spool_packed", None)  # no data is packed
    words = [str(word).replace("MODEL", str(model_path)).replace("DATA", str(data)) for word in options]
    before = sorted(tmp_path.iterdir())
    result = sea("train", model_path, data, "-o", "out", *SHORT, *words, *dry)
    assert result.code == 2 and said in result.stderr and "fix:" in result.stderr
    assert sorted(tmp_path.iterdir()) == before and not (model_path / "out").exists()


def test_a_dry_run_refuses_what_the_run_would(sea: Sea, data: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    write_tokenizer(small, template=None)
    write_model(small, vocab_size=200)
    for dry in ((), ("--dry-run",)):
        result = sea("train", small, data, "-o", tmp_path / "out", *SHORT, *dry)
        assert result.code == 1 and "the model has 200 embedding rows" in result.stderr
    whole = write_model(small)
    chat = write_jsonl(tmp_path / "chat.jsonl", [{"messages": CHAT}])
    result = sea("train", whole, chat, "-o", tmp_path / "out", *SHORT, "--dry-run")
    assert result.code == 1 and "chat.jsonl:1" in result.stderr and "chat template" in result.stderr


def test_evaluation_texts_are_read_before_the_data_is_packed(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seatools.train.session.spool_packed", None)
    empty = write_jsonl(tmp_path / "empty.jsonl", [])
    result = sea("train", model_path, data, "-o", tmp_path / "out", *SHORT, "--eval-data", f"th={empty}")
    assert result.code == 1 and "no records" in result.stderr and not (tmp_path / "out").exists()


def test_text_that_is_trained_on_and_evaluated_is_warned_of(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "link.jsonl").symlink_to(data)
    other = write_jsonl(tmp_path / "other.jsonl", TEXTS[:2])
    held = ("--eval-data", f"th={tmp_path / 'link.jsonl'},en={other}")
    result = sea("train", model_path, data, "-o", tmp_path / "out", *SHORT, *held)
    assert result.code == 0 and result.stderr.count("is trained on and evaluated") == 1
    assert "link.jsonl" in result.stderr


def test_a_weight_that_is_no_number_is_named(sea: Sea, data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    write_tokenizer(model)
    weights = load_file(write_model(model) / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    result = sea("train", model, data, "-o", tmp_path / "out", *SHORT)
    assert result.code == 1 and "model.layers.0.mlp.up_proj.weight holds numbers that are not finite" in result.stderr


def test_a_full_disk_while_packing_is_named_with_its_file(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("seatools.text.packed_writer.PackedWriter.add", full)
    result = sea("train", model_path, data, "-o", tmp_path / "out", *SHORT)
    assert result.code == 1 and not (tmp_path / "out").exists()
    assert "out/packed.safetensors: the packed data cannot be written: No space left" in result.stderr


def test_a_signal_while_data_is_packed_exits_75_and_is_no_bad_record(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr("seatools.text.documents.Documents._plan", stopped)
        result = sea("train", model_path, data, "-o", tmp_path / "out", *SHORT, "--on-error", "skip")
    assert result.code == 75 and "stopped by SIGUSR1" in result.stderr and "--resume" in result.stderr
    assert not (tmp_path / "out").exists()
    assert sea("train", model_path, data, "-o", tmp_path / "out", *SHORT, "--resume").code == 0


@pytest.mark.parametrize("words", [["-"], ["th=-"], ["a.jsonl", "--eval-data", "en=-"]])
def test_no_pipe_reaches_a_batch_job(sea: Sea, model_path: Path, tmp_path: Path, words: list[str]) -> None:
    result = sea("train", model_path, *words, "-o", tmp_path / "out", "--print-launch", "slurm")
    assert result.code == 2 and "no pipe" in result.stderr and result.stdout == b""


@pytest.mark.parametrize("words", [["--fp8"], ["--attention", "flash_attention_3"]])
def test_a_run_that_fails_before_its_first_step_leaves_nothing_that_refuses_the_next(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, words: list[str]
) -> None:
    """--fp8 without a GPU, a package that is missing: some are known before the data is packed, some are not."""
    run = ("train", model_path, data, "-o", tmp_path / "out", "--device", "cpu", *SHORT)
    assert sea(*run, *words).code == 1 and not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    assert sea(*run, *words).code == 1 and not list((tmp_path / "out").iterdir())
    assert sea(*run).code == 0


def test_a_disk_that_cannot_hold_a_checkpoint_is_told_before_the_first_step(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for is what a run then writes, but for headers and state.json."""
    run = ("train", model_path, data, "-o", tmp_path / "out", *SHORT)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 5))
        result = sea(*run)
    assert result.code == 1 and len(result.stderr.splitlines()) <= 3 and not (tmp_path / "out").exists()
    asked = re.search(r"one checkpoint and the model at the end take ([0-9,]+) bytes, and 5 are free", result.stderr)
    assert asked is not None and sea(*run).code == 0
    written = sum(
        path.stat().st_size for path in (tmp_path / "out").rglob("*.safetensors") if "packed" not in path.name
    )
    assert 0 < written - int(asked[1].replace(",", "")) < 0.2 * written
    with monkeypatch.context() as patch:  # some file systems say 0 of everything
        patch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 0))
        assert sea(*run, "--force").code == 0


@pytest.mark.parametrize("place", ["c.svg", "out/c.svg"])
def test_curves_are_drawn_where_and_as_the_name_says(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, place: str
) -> None:
    pytest.importorskip("matplotlib")
    run = ("train", model_path, data, "-o", tmp_path / "out", *SHORT[:-2], "-q")
    assert SHORT[-2] == "--no-plot"
    refused = sea(*run, "--plot", tmp_path / "c.jpg")
    assert refused.code == 2 and "end it in .png, .svg, .pdf" in refused.stderr
    assert sea(*run, "--plot", tmp_path / place, "--no-plot").code == 2
    assert not (tmp_path / "out").exists()
    assert sea(*run, "--plot", tmp_path / place).code == 0
    assert (tmp_path / place).read_bytes().startswith(b"<?xml") and not (tmp_path / "out" / "curves.png").exists()


def test_forgetting_cannot_be_watched_from_the_middle_of_a_run(
    sea: Callable[..., Any], model_path: Path, data: Path, tmp_path: Path
) -> None:
    held = tmp_path / "en.txt"
    held.write_text("a line to be kept\n", "utf-8")
    short = ("--seq-len", 32, "--batch-size", 2, "--max-steps", 2, "--save-every", 1, "-q")
    command = ("train", model_path, data, "-o", tmp_path / "out", *short)
    assert sea(*command).code == 0
    late = sea(*command, "--resume", "--eval-data", f"en={held}", "--source-lang", "en")
    assert late.code == 2 and "en was not evaluated before the first step" in late.stderr
