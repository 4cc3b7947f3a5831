"""A tiny Llama folder with a byte-level tokenizer and a chat template: a model as users have one, made in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ("<pad>", "<s>", "</s>")  # ids from 0
WORDS = ("kaya", "ngata", "lor", "inay", "anak", "ulan", "puno", "isda", "bata")
TEXTS = [{"text": f"{word} " * n} for n, word in enumerate(WORDS, 1)]
VOCABULARY = len(SPECIAL) + 256
BOS, EOS = 1, 2


def write_tokenizer(
    folder: Path,
    *,
    names: tuple[str, ...] = ("bos", "eos", "pad"),
    template: str | None = TEMPLATE,
    special: tuple[str, ...] = SPECIAL,
) -> None:
    """One token a byte after `special`; `names`: which of BOS, EOS, PAD the configuration names."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    engine = Tokenizer(models.BPE({piece: i for i, piece in enumerate([*special, *alphabet])}, []))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens(list(special))
    folder.mkdir(exist_ok=True)
    engine.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    config |= {f"{name}_token": {"bos": "<s>", "eos": "</s>", "pad": "<pad>"}[name] for name in names}
    if template is not None:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


def write_model(folder: Path, *, seed: int = 0, dtype: str = "float32", **changes: Any) -> Path:
    """A random Llama of two layers in `folder` (made if need be), its weights large enough to matter."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    values: dict[str, Any] = dict(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**(values | changes)))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    folder.mkdir(exist_ok=True)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records))
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    """Name -> content of every file below."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what the clock decides."""
    from seatools.engine.step_figures import CLOCK_FIELDS

    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_bytes().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCK_FIELDS} for line in lines]


def read_weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")
