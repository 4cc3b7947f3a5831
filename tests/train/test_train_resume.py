"""A killed run, resumed, ends with the same bits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import TEXTS, read_metrics, write_jsonl

Sea = Callable[..., Any]
SIX = ("--seq-len", 32, "--batch-size", 2, "--max-steps", 6, "--save-every", 3, "--lr", "1e-3", "-q")

KILLED_IN_STEP_5 = """
import os, signal, sys
import torch
torch.set_num_threads(1)
import seatools.engine.shard as shard
from seatools.cli import main

real, calls = shard.batch_loss, []
def batch_loss(model, batch, **named):
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(model, batch, **named)
shard.batch_loss = batch_loss
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def stop_at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the next run end without any clean-up of its own in the middle of a step; `stop(0)`: not at all."""
    import seatools.engine.shard as shard

    real = shard.batch_loss

    def stop(step: int) -> None:
        calls: list[int] = []

        def batch_loss(model: Any, batch: Any, **named: Any) -> Any:
            calls.append(1)
            if len(calls) == step:
                raise KeyboardInterrupt
            return real(model, batch, **named)

        monkeypatch.setattr(shard, "batch_loss", batch_loss)

    return stop


def same_run(one: Path, two: Path) -> bool:
    """Metrics (without the clock's figures), weights, data and manifest inputs are equal to the bit."""
    files = ("model.safetensors", "checkpoints/step-6/optimizer.safetensors")
    assert read_metrics(one) == read_metrics(two)
    assert [line["step"] for line in read_metrics(two)] == [1, 2, 3, 4, 5, 6]
    for name in files:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    manifests = [json.loads(Path(f"{out}.manifest.json").read_bytes()) for out in (one, two)]
    assert manifests[0]["counts"] == manifests[1]["counts"]
    assert manifests[0]["rejects"] == manifests[1]["rejects"]
    assert [row["sha256"] for row in manifests[0]["inputs"]] == [row["sha256"] for row in manifests[1]["inputs"]]
    return True


def test_a_killed_run_resumed_ends_with_the_same_bits(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert sea("train", model_path, data, "-o", whole, *SIX).code == 0
    command = [str(word) for word in ("train", model_path, data, "-o", killed, *SIX)]
    died = subprocess.run([sys.executable, "-c", KILLED_IN_STEP_5, *command], capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert [line["step"] for line in read_metrics(killed)] == [1, 2, 3, 4]
    assert not (killed / "config.json").exists() and not (tmp_path / "killed.manifest.json").exists()
    assert sea(*command, "--resume").code == 0
    assert same_run(whole, killed)


def test_a_run_fed_by_a_pipe_resumes_without_it(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, stop_at_step: Callable[[int], None]
) -> None:
    text = data.read_bytes()
    assert sea("train", model_path, "-", "-o", tmp_path / "whole", *SIX, stdin=text).code == 0
    for name, words in (("dash", ("-",)), ("bare", ())):
        stop_at_step(5)
        out = tmp_path / name
        assert sea("train", model_path, "-", "-o", out, *SIX, stdin=text).code == 130
        stop_at_step(0)
        resumed = sea("train", model_path, *words, "-o", out, *SIX, "--resume", stdin=b"")
        assert resumed.code == 0, resumed.stderr
        assert same_run(tmp_path / "whole", out)
        manifest = json.loads(Path(f"{out}.manifest.json").read_bytes())
        assert manifest["inputs"][0]["path"] == "-"


@pytest.mark.parametrize("order", ["file", "shuffled"])
def test_stdin_gives_the_run_that_the_file_gives(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, order: str
) -> None:
    six = (*SIX, "--order", order)
    assert sea("train", model_path, data, "-o", tmp_path / "file", *six).code == 0
    assert sea("train", model_path, "-", "-o", tmp_path / "pipe", *six, stdin=data.read_bytes()).code == 0
    assert (tmp_path / "file" / "model.safetensors").read_bytes() == (
        tmp_path / "pipe" / "model.safetensors"
    ).read_bytes()


def test_a_packed_file_is_named_again_to_resume(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, stop_at_step: Callable[[int], None]
) -> None:
    assert sea("train", model_path, data, "-o", tmp_path / "a", *SIX).code == 0
    packed = tmp_path / "a" / "packed.safetensors"
    assert sea("train", model_path, packed, "-o", tmp_path / "whole", *SIX).code == 0
    stop_at_step(5)
    assert sea("train", model_path, packed, "-o", tmp_path / "b", *SIX).code == 130
    stop_at_step(0)
    bare = sea("train", model_path, "-o", tmp_path / "b", *SIX, "--resume")
    assert bare.code == 2 and "no data to resume with" in bare.stderr
    assert sea("train", model_path, packed, "-o", tmp_path / "b", *SIX, "--resume").code == 0
    assert same_run(tmp_path / "whole", tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (("--lr", "2e-3"), "lr"),
        (("--seed", 1), "--seed"),
        (("--batch-size", 3), "batch_size"),
        (("--seq-len", 48), "--seq-len"),
        (("--max-steps", 7), "max_steps"),
        (("--schedule", "linear"), "schedule"),
        (("--warmup", 2), "warmup"),
        (("--weight-decay", 0), "weight_decay"),
        (("--clip", "inf"), "clip"),
        (("--limit", 3), "--limit"),
        (("--order", "file"), "--order"),
        (("--dtype", "bf16"), "dtype"),
    ],
)
def test_other_options_are_refused_by_name_and_change_nothing(
    sea: Sea, model_path: Path, data: Path, finished: Path, change: tuple[Any, ...], name: str
) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    result = sea("train", model_path, data, "-o", finished, *SIX, *change, "--resume")
    assert result.code == 2
    assert f"belongs to another run: {name} was" in result.stderr, result.stderr
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    assert Path(f"{finished}.manifest.json").exists()


@pytest.fixture(scope="module")
def finished(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from seatools.cli import main

    folder = tmp_path_factory.mktemp("finished")
    data = write_jsonl(folder / "data.jsonl", TEXTS)
    assert main([str(word) for word in ("train", model_path, data, "-o", folder / "out", *SIX)]) == 0
    return folder / "out"


def test_another_model_or_other_data_are_refused_by_name(
    sea: Sea, model_path: Path, data: Path, finished: Path, tmp_path: Path
) -> None:
    from tiny_llama import write_model, write_tokenizer

    write_tokenizer(tmp_path / "model")
    write_model(tmp_path / "model", seed=9)
    other_model = sea("train", tmp_path / "model", data, "-o", finished, *SIX, "--resume")
    assert other_model.code == 2 and "model was" in other_model.stderr
    other = write_jsonl(tmp_path / "other.jsonl", [{"text": "something else"}])
    other_data = sea("train", model_path, other, "-o", finished, *SIX, "--resume")
    assert other_data.code == 2 and "DATA was data=data.jsonl" in other_data.stderr
    assert "other.jsonl" in other_data.stderr
    labelled = sea("train", model_path, f"th={data}", "-o", finished, *SIX, "--resume")
    assert labelled.code == 2 and "now th=data.jsonl" in labelled.stderr


def test_a_chat_template_changed_between_is_refused(sea: Sea, model_path: Path, tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}"
                        "{% if add_generation_prompt %}assistant:{% endif %}")  # fmt: skip
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    data = write_jsonl(tmp_path / "chat.jsonl", [{"messages": chat}])
    command = ("train", model_path, data, "-o", tmp_path / "out", *SIX, "--chat-template", template)
    assert sea(*command).code == 0
    template.write_text(template.read_text().replace(":", ">"))
    result = sea(*command, "--resume")
    assert result.code == 2 and "--chat-template was" in result.stderr


def test_a_finished_run_resumed_stays_as_it_is(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("train", model_path, data, "-o", out, *SIX)
    assert sea(*command).code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert sea(*command, "--resume").code == 0
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_resume_with_nothing_there_begins(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    """So that a job that is restarted whenever it is killed needs one command line."""
    command = ("train", model_path, data, "-o", tmp_path / "out", *SIX, "--resume")
    assert sea(*command).code == 0
    assert len(read_metrics(tmp_path / "out")) == 6


def test_resume_in_somebodys_model_is_refused(sea: Sea, model_path: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("precious")
    result = sea("train", model_path, data, "-o", tmp_path / "other", *SIX, "--resume")
    assert result.code == 2 and "holds no run to resume" in result.stderr
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["config.json"]


def test_resume_keeps_what_was_rejected_and_quarantined(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, stop_at_step: Callable[[int], None]
) -> None:
    data.write_bytes(b"not json\n" + data.read_bytes())
    command = ("train", model_path, data, *SIX, "--on-error", "quarantine")
    assert sea(*command, "-o", tmp_path / "whole").code == 0
    stop_at_step(5)
    assert sea(*command, "-o", tmp_path / "out").code == 130
    kept = (tmp_path / "out.quarantine.jsonl").read_bytes()
    assert b"not json" in kept
    stop_at_step(0)
    assert sea(*command, "-o", tmp_path / "out", "--resume").code == 0
    assert (tmp_path / "out.quarantine.jsonl").read_bytes() == kept
    assert same_run(tmp_path / "whole", tmp_path / "out")
    assert json.loads((tmp_path / "out.manifest.json").read_bytes())["rejects"] == {"broken json": 1}


def test_a_data_folder_around_out_is_still_the_same_data(
    sea: Sea, model_path: Path, data: Path, tmp_path: Path, stop_at_step: Callable[[int], None]
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    data.rename(folder / "data.jsonl")
    command = ("train", model_path, folder, "-o", folder / "out", *SIX)
    stop_at_step(5)
    assert sea(*command).code == 130
    stop_at_step(0)
    resumed = sea(*command, "--resume")
    assert resumed.code == 0, resumed.stderr
