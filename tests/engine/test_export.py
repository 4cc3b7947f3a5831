"""The exported folder: the same logits in transformers, with everything that belongs to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seatools.engine.export import export_folder


def no_files(folder: Path) -> None:
    """A tokenizer without files."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "generation_config.json").write_text('{"temperature": 0.25}')
    (folder / "chat_template.jinja").write_text("base's")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_the_folder_loads_in_transformers_with_the_same_logits(tiny_model: Any, base: Path, out: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = tiny_model("llama")
    export_folder(model, out, base=base, add_files=no_files, chat_template=None)
    loaded = AutoModelForCausalLM.from_pretrained(out)
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, model(input_ids=ids).logits)


def test_who_may_read_the_folder_may_read_the_weights(tiny_model: Any, base: Path, out: Path) -> None:
    export_folder(tiny_model("llama"), out, base=base, add_files=no_files, chat_template=None)
    modes = {path.name: path.stat().st_mode for path in out.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_a_tied_head_is_stored_once_and_stays_tied(tiny_model: Any, base: Path, out: Path) -> None:
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    model = tiny_model("llama", tie_word_embeddings=True)
    export_folder(model, out, base=base, add_files=no_files, chat_template=None)
    with safe_open(out / "model.safetensors", framework="pt") as file:
        assert "lm_head.weight" not in set(file.keys())
    loaded = AutoModelForCausalLM.from_pretrained(out)
    assert loaded.lm_head.weight.data_ptr() == loaded.model.embed_tokens.weight.data_ptr()
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)


def test_the_templates_come_from_the_user_else_the_tokenizer_else_the_base(
    tiny_model: Any, base: Path, out: Path, tmp_path: Path
) -> None:
    model = tiny_model("llama")

    def tokenizer_files(folder: Path) -> None:
        (folder / "chat_template.jinja").write_text("tokenizer's")

    export_folder(model, out, base=base, add_files=no_files, chat_template=None)
    assert (out / "chat_template.jinja").read_text() == "base's"
    export_folder(model, out, base=base, add_files=tokenizer_files, chat_template=None)
    assert (out / "chat_template.jinja").read_text() == "tokenizer's"
    mine = tmp_path / "mine.jinja"
    mine.write_text("mine")
    export_folder(model, out, base=base, add_files=tokenizer_files, chat_template=mine)
    assert (out / "chat_template.jinja").read_text() == "mine"


def test_a_failure_on_the_way_leaves_nothing(tiny_model: Any, base: Path, out: Path) -> None:
    def full_disk(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        export_folder(tiny_model("llama"), out, base=base, add_files=full_disk, chat_template=None)
    assert list(out.iterdir()) == []


def test_config_json_comes_last_so_that_a_crash_between_leaves_no_model(
    tiny_model: Any, base: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    replace = Path.replace

    def remember(self: Path, target: Path) -> Path:
        if target.parent == out:
            moved.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", remember)
    export_folder(tiny_model("llama"), out, base=base, add_files=no_files, chat_template=None)
    assert moved[-1] == "config.json" and "model.safetensors" in moved


def test_the_generation_config_of_the_base_is_kept(tiny_model: Any, base: Path, out: Path) -> None:
    export_folder(tiny_model("llama"), out, base=base, add_files=no_files, chat_template=None)
    assert (out / "generation_config.json").read_text() == '{"temperature": 0.25}'
