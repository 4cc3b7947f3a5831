"""A tiny Llama with an FFN neuron that expects Thai after Thai and one that expects English after English, by hand.

Embeddings say in dimension 0 whether a byte is one of Thai (+1) or not (-1). Neuron THAI of layer 0 fires on the one
and writes dimension 1, neuron ENGLISH on the other and writes dimension 2; the head gives the bytes of the Thai texts
dimension 1 and those of the English ones dimension 2. All other neurons are noise, and attention adds nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_llama import SPECIAL, write_model, write_tokenizer

TEXTS = {
    "th": [f"{a}{b}{c}" for a in ("บ้าน", "ถนน", "ต้นไม้", "เรือ") for b in ("เก่า", "ใหม่", "สีแดง")
           for c in ("อยู่ที่นี่", "อยู่ไกล", "ติดทะเล")],
    "en": [f"The {a} {b} is {c}." for a in ("old", "new", "red", "wet") for b in ("house", "road", "tree")
           for c in ("here", "far away", "by the sea")],
}  # fmt: skip
THAI, ENGLISH = 3, 7
NEURONS = 4  # in each set: the one that matters and three of noise


def write_bilingual(folder: Path) -> Path:
    """The model with its tokenizer of one token a byte."""
    from seatools.engine.load import load_model

    write_tokenizer(folder, names=("bos", "eos", "pad"), template=None)
    model: Any = load_model(write_model(folder), device="cpu", dtype=torch.float32)
    thai, english = (_bytes_of(folder, texts, model.config.vocab_size) for texts in TEXTS.values())
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(1)
            elif "o_proj" in name:
                parameter.zero_()
            else:
                parameter.normal_(0, 0.05, generator=noise)
        model.model.embed_tokens.weight[:, 0] = torch.where(thai, 1.0, -1.0)
        model.model.embed_tokens.weight[: len(SPECIAL), 0] = 0
        model.model.embed_tokens.weight[:, 1:3] = 0
        ffn = model.model.layers[0].mlp
        for neuron, sign, to in ((THAI, 1.0, 1), (ENGLISH, -1.0, 2)):
            ffn.gate_proj.weight[neuron, 0] = 2 * sign
            ffn.up_proj.weight[neuron, 0] = sign
            ffn.down_proj.weight[:, neuron] = 0
            ffn.down_proj.weight[to, neuron] = 0.02
        model.lm_head.weight[:, 0] = 0
        model.lm_head.weight[:, 1] = torch.where(thai, 2.0, -2.0)
        model.lm_head.weight[:, 2] = torch.where(english, 2.0, -2.0)
    model.save_pretrained(folder)
    return folder


def _bytes_of(folder: Path, texts: list[str], vocab_size: int) -> torch.Tensor:
    """[vocab_size] bool: the bytes of these texts."""
    from seatools.text.tokenizer import load_tokenizer

    found = torch.zeros(vocab_size, dtype=torch.bool)
    for ids in load_tokenizer(folder).encode_batch(texts):
        found[ids] = True
    return found


def language_sets(model: Any) -> dict[str, Any]:
    """Neurons of "th" and "en"."""
    from seatools.engine.neuron_layers import find_layers
    from seatools.lsn_detect.neuron_weights import Chosen, as_weights

    places = find_layers(model).places(["ffn"])
    sets = {}
    for lang, neuron in (("th", THAI), ("en", ENGLISH)):
        chosen = {}
        for place, indices in zip(places, ([neuron, neuron + 20], [neuron, neuron + 30]), strict=True):
            mask = np.zeros(place.size, bool)
            mask[indices] = True
            chosen[place.key] = Chosen(mask, mask.astype(np.float32))
        sets[lang] = as_weights(places, chosen)
    return sets


def save_sets(path: Path, sets: dict[str, Any], model: Any, **about: Any) -> Path:
    """A neuron file of `model`; `about`: model_digest, corpora."""
    from seatools.engine.neuron_layers import find_layers
    from seatools.engine.neurons import architecture, neuron_metadata, save_neurons

    known: dict[str, Any] = dict(method="magnitude", thresholds={}, model_digest="ab12", corpora={})
    metadata = neuron_metadata(
        architecture=architecture(model), places=find_layers(model).all_places(), num_parameters=model.num_parameters(),
        **(known | about),
    )  # fmt: skip
    save_neurons(path, sets, metadata)
    return path
