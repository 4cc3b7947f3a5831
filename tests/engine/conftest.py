"""Tiny random models for every engine test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_families import tiny

# Tiny matrices gain nothing from threads, and lose much where several test runs share the cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Any]:
    """`tiny_model("llama", attention="sdpa", tie_word_embeddings=True, ...)`: see `tiny_families.tiny`."""
    return tiny
