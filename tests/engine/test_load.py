"""Models in and out, and the folders that are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seatools.engine.load import build_model, check_vocabulary, load_model, save_model
from seatools.streams.errors import SeaError, UsageError


def load(folder: Path, **options: Any) -> Any:
    return load_model(folder, **{"device": "cpu", "dtype": torch.float32, **options})


@pytest.fixture
def folder(tiny_model: Callable[..., Any], tmp_path: Path) -> Path:
    """A tiny tied Llama on disk."""
    path = tmp_path / "model"
    path.mkdir()
    save_model(tiny_model("llama", tie_word_embeddings=True), path)
    return path


def edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral-sliding", "gemma2", "gemma3"])
def test_a_saved_model_comes_back_bit_equal(
    tiny_model: Callable[..., Any], tmp_path: Path, family: str, tie: bool
) -> None:
    model = tiny_model(family, tie_word_embeddings=tie)
    save_model(model, tmp_path)
    again = load(tmp_path)
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert (again.lm_head.weight is again.get_input_embeddings().weight) is tie


@pytest.mark.parametrize("tie", [True, False])
def test_weights_can_be_stored_in_another_dtype(tiny_model: Callable[..., Any], tmp_path: Path, tie: bool) -> None:
    model = tiny_model("llama", tie_word_embeddings=tie)
    save_model(model, tmp_path, dtype=torch.bfloat16)
    stored = load_file(tmp_path / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.bfloat16}
    assert ("lm_head.weight" in stored) is not tie
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert model.dtype == torch.float32
    again = load(tmp_path)
    assert all(torch.equal(value.bfloat16().float(), again.state_dict()[k]) for k, value in model.state_dict().items())


def test_attention_is_without_masks_where_rows_are_packed_and_gemma2_is_eager(
    tiny_model: Callable[..., Any], tmp_path: Path
) -> None:
    for family, packed, alone in (("llama", "sea_varlen", "sdpa"), ("gemma2", "eager", "eager")):
        path = tmp_path / family
        path.mkdir()
        save_model(tiny_model(family), path)
        assert load(path).config._attn_implementation == packed
        assert load(path, packing=False).config._attn_implementation == alone
        assert build_model(path, device="cpu", dtype=torch.float32).config._attn_implementation == packed
    with pytest.raises(SeaError, match="scaled_dot_product"):
        load(path, attention="sdpa")
    with pytest.raises(UsageError):
        load(path, attention="flash")


def test_caps_on_attention_scores_are_kept_where_sdpa_would_leave_them_out(
    tiny_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers 5.17 offers sdpa for Gemma 2, without its caps; 5.23 is made to do the same here."""
    from transformers import Gemma2ForCausalLM, PreTrainedModel

    reference = tiny_model("gemma2", attention="eager", attn_logit_softcapping=0.5)
    save_model(reference, tmp_path)
    for kind in (Gemma2ForCausalLM, *Gemma2ForCausalLM.__mro__):
        if issubclass(kind, PreTrainedModel) and "_supports_sdpa" in vars(kind):
            monkeypatch.setattr(kind, "_supports_sdpa", True)
    model, ids = load(tmp_path), torch.arange(3, 20)[None]
    assert model.config._attn_implementation == load(tmp_path, packing=False).config._attn_implementation == "eager"
    assert torch.equal(model(input_ids=ids).logits, reference(input_ids=ids).logits)
    with pytest.raises(SeaError, match="caps its attention scores"):
        load(tmp_path, attention="sdpa")


def test_bf16_rounds_weights_but_not_rotary_frequencies(folder: Path) -> None:
    model, exact = load(folder, dtype=torch.bfloat16), load(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert torch.equal(model.model.rotary_emb.inv_freq, exact.model.rotary_emb.inv_freq)


def test_the_released_models_load(shared: Path) -> None:
    assert load(shared / "models" / "stories260K").num_parameters() == 260_032


def remove(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def add(folder: Path, name: str) -> None:
    tensors = {**load_file(folder / "model.safetensors"), name: torch.zeros(2)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: shutil.rmtree(f), "does not exist"),
        (lambda f: (f / "config.json").unlink(), r"config\.json: does not exist"),
        (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "config.json").write_text("{}"), "has no model_type"),
        (lambda f: edit_config(f, model_type="nonesuch"), "'nonesuch'"),
        (lambda f: edit_config(f, auto_map={"AutoModelForCausalLM": "evil.Model"}), "auto_map"),
        (lambda f: edit_config(f, quantization_config={"quant_method": "gptq"}), "quantised"),
        (lambda f: edit_config(f, model_type="t5"), "cannot be loaded: .*T5Config"),
        (lambda f: edit_config(f, hidden_size=64), "cannot be loaded"),
        (lambda f: edit_config(f, num_hidden_layers=4), "has no weights for model.layers.3"),
        (lambda f: edit_config(f, num_hidden_layers=2), "has weights that the model has no place for: model.layers.2"),
        (lambda f: edit_config(f, tie_word_embeddings=False), r"has no weights for lm_head\.weight"),
        (lambda f: remove(f, "model.norm.weight"), r"has no weights for model\.norm\.weight"),
        (lambda f: add(f, "model.extra"), r"no place for: model\.extra"),
        (lambda f: cut(f / "model.safetensors"), r"model\.safetensors: is cut short"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    ],
)
def test_a_folder_that_is_not_a_whole_model_is_refused(
    folder: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(folder)
    with pytest.raises(SeaError, match=message):
        load(folder)


def test_computed_buffers_of_old_checkpoints_are_no_error(folder: Path) -> None:
    add(folder, "model.layers.0.self_attn.rotary_emb.inv_freq")
    load(folder)


def test_pickles_are_refused_with_the_command_that_converts_them(tiny_model: Callable[..., Any], folder: Path) -> None:
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(SeaError, match="as a pickle only") as caught:
        load(folder)
    code = str(caught.value.fix).split('python -c "')[1].split('"')[0]
    exec(code)  # the advice must work
    again = load(Path(f"{folder}-safetensors"))
    assert torch.equal(again.lm_head.weight, tiny_model("llama", tie_word_embeddings=True).lm_head.weight)


@pytest.mark.parametrize("missing", [True, False])
def test_a_sharded_model_loads_unless_a_shard_is_gone(
    tiny_model: Callable[..., Any], tmp_path: Path, missing: bool
) -> None:
    model = tiny_model("llama")
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    if missing:
        shard.unlink()
        with pytest.raises(SeaError, match=f"{shard.name}: is missing"):
            load(tmp_path)
    else:
        assert torch.equal(load(tmp_path).lm_head.weight, model.lm_head.weight)


def test_nothing_is_printed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_model(load(folder), folder)
    assert capfd.readouterr() == ("", "")


def test_a_fresh_model_is_a_function_of_config_and_seed(folder: Path) -> None:
    def build(seed: int, dtype: torch.dtype = torch.float32) -> Any:
        return build_model(folder / "config.json", seed=seed, device="cpu", dtype=dtype)

    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = build(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again, other, rounded = build(1), build(2), build(1, torch.bfloat16)
    name = "model.layers.0.mlp.up_proj.weight"
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    assert torch.equal(first.state_dict()[name].bfloat16(), rounded.state_dict()[name])
    assert torch.equal(first.model.rotary_emb.inv_freq, rounded.model.rotary_emb.inv_freq)
    assert rounded.lm_head.weight is rounded.model.embed_tokens.weight


def test_a_fresh_model_takes_the_vocabulary_asked_for(folder: Path) -> None:
    model = build_model(folder, vocab_size=120, device="cpu", dtype=torch.float32)
    assert model.lm_head.weight.shape[0] == model.config.vocab_size == 120


def test_a_tokenizer_with_more_ids_than_rows_is_refused(folder: Path) -> None:
    model = load(folder)
    check_vocabulary(model, 97, "tok")
    check_vocabulary(model, 50, "tok")
    with pytest.raises(SeaError, match="tok: the tokenizer has ids up to 97, the model has 97"):
        check_vocabulary(model, 98, "tok")


def test_tied_weights_are_counted_once(tiny_model: Callable[..., Any]) -> None:
    tied, untied = (tiny_model("llama", tie_word_embeddings=tie) for tie in (True, False))
    assert untied.num_parameters() - tied.num_parameters() == 97 * 32
