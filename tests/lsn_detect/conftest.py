"""Tiny float64 models, and batches of made-up documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from two_languages import ENGLISH, THAI, save_model

from seatools.lsn_detect.corpora import Context, PackedBatch, packed_batches

torch.set_num_threads(1)  # tiny matrices gain nothing from threads

MORE: dict[str, dict[str, Any]] = {  # every bias and cap that importance has to heed
    "llama": dict(attention_bias=True, mlp_bias=True),
    "gemma2": dict(attn_logit_softcapping=50.0),
    "gemma3": dict(sliding_window=64, layer_types=None),
    "olmo2": dict(hidden_size=32),  # it has no head_dim of its own
}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Any]:
    """`tiny("llama", hidden_act=...)`: two layers, 4 query heads on 2 key heads of 8, in float64."""

    def build(family: str = "llama", dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
        sizes = dict(hidden_size=24, intermediate_size=20, num_hidden_layers=2, head_dim=8)
        return tiny_families.tiny(family, dtype, attention="eager", **{**sizes, **MORE.get(family, {}), **changes})

    return build


@pytest.fixture(autouse=True)
def softmax_as_precise_as_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' eager attention rounds its softmax to float32, also in a float64 model."""
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, dtype=None: torch.softmax(x, dim))


@pytest.fixture(scope="session")
def documents() -> Callable[..., list[np.ndarray]]:
    """`documents(5, seed=1)`: that many, of 9 to 20 tokens."""

    def make(number: int, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [rng.integers(3, 97, rng.integers(9, 21)).astype(np.uint32) for _ in range(number)]

    return make


@pytest.fixture(scope="session")
def batches() -> Callable[..., list[PackedBatch]]:
    """`batches(docs, seq_len=20)`: packed, two rows a batch; documents of the two halves in turn."""

    def make(docs: list[np.ndarray], seq_len: int = 20) -> list[PackedBatch]:
        window = [Context(doc, number % 2) for number, doc in enumerate(docs)]
        return list(packed_batches(window, seq_len=seq_len, batch_tokens=2 * seq_len, pad_id=0, device="cpu"))

    return make


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Any]) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), tiny(dtype=torch.float32, vocab_size=259))


@pytest.fixture
def texts(tmp_path: Path) -> tuple[str, str]:
    """--lang arguments for Thai and English."""
    (tmp_path / "th.txt").write_text("\n".join(THAI), "utf-8")
    (tmp_path / "en.txt").write_text("\n".join(ENGLISH), "utf-8")
    return f"th={tmp_path}/th.txt", f"en={tmp_path}/en.txt"
