"""Stages: which config files are schedules, what each stage takes from the command line, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatools.streams.errors import UsageError
from seatools.train.options import TrainOptions
from seatools.train.stages import read_stages

SCHEDULE = """
batch-size = 4
[[stage]]
name = "rows"
train = "new-rows"
lr = 1e-3
max-steps = 20
[[stage]]
name = "body"
neurons = "th.safetensors"
neuron-langs = "th, lo"
[[stage]]
data = ["chat.jsonl"]
lr = 2e-5
seq-len = 64
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_stage_is_the_command_lines_options_with_its_own_on_top(tmp_path: Path) -> None:
    base = TrainOptions(lr=3e-4, seed=5, epochs=2)
    rows, body, chat = read_stages(write(tmp_path, SCHEDULE), base, None)
    assert [stage.folder for stage in (rows, body, chat)] == ["1-rows", "2-body", "3-stage-3"]
    assert (rows.options.train, rows.options.lr, rows.options.max_steps) == ("new-rows", 1e-3, 20)
    assert (body.options.train, body.options.lr, body.options.epochs) == ("neurons=th.safetensors", 3e-4, 2)
    assert body.options.neuron_langs == ("th", "lo")
    assert (chat.options.lr, chat.data, chat.explicit_seq_len) == (2e-5, ("chat.jsonl",), 64)
    assert all(stage.options.seed == 5 for stage in (rows, body, chat))
    assert rows.explicit_seq_len is None


def test_only_the_first_stage_builds_a_model(tmp_path: Path) -> None:
    path = write(tmp_path, '[[stage]]\nlr = 1e-3\n[[stage]]\ndata = "more.jsonl"\n')
    first, second = read_stages(path, TrainOptions(from_config=True), None)
    assert first.options.from_config and not second.options.from_config
    assert second.data == ("more.jsonl",)


def test_a_preset_of_a_stage_stands_beneath_its_own_values(tmp_path: Path) -> None:
    text = '[[stage]]\npreset = "sambalingo-sft"\nbatch-size = 4\n[[stage]]\nlr = 1e-3\n'
    first, second = read_stages(write(tmp_path, text), TrainOptions(lr=3e-4, weight_decay=0.0), None)
    assert (first.options.lr, first.options.schedule, first.options.warmup) == (2e-5, "linear", 0.1)
    assert (first.options.batch_size, first.explicit_seq_len, first.options.weight_decay) == (4, 2048, 0.0)
    assert (second.options.schedule, second.explicit_seq_len) == ("cosine", None)


def test_a_file_without_stages_has_none(tmp_path: Path) -> None:
    assert read_stages(write(tmp_path, "lr = 1e-3\n"), TrainOptions(), None) == []
    assert read_stages(None, TrainOptions(), None) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[stage]]\nlearning-rate = 1\n", "no option"),
        ("[[stage]]\nlr = 2.0\n", "--lr 2.0"),
        ('[[stage]]\nlr = "fast"\n', '"lr" is'),
        ("[[stage]]\nbatch-size = 2.5\n", '"batch-size" is 2.5'),
        ("[[stage]]\ncompile = 1\n", '"compile" is 1'),
        ("[[stage]]\ndata = 3\n", "data is a list"),
        ('[[stage]]\nname = "a/b"\n', "folder"),
        ('[[stage]]\nname = "a"\n[[stage]]\nname = "a"\n', "two stages"),
        ("[[stage]]\nlr = 1e-3\n[[stage]]\nseed = 3\n", '"seed"'),
        ('[[stage]]\ndevice = "cpu"\n', "not of one stage"),
        ('[[stage]]\npreset = "no"\n', "no preset 'no'"),
        ("[stage]\nlr = 1e-3\n", "array of tables"),
        ("stage = 3\n", "array of tables"),
    ],
)
def test_what_cannot_be_a_stage_is_refused_with_file_and_stage(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_stages(path, TrainOptions(), None)
    assert str(path) in str(caught.value) and said in str(caught.value)
