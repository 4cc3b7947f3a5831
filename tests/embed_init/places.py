"""Everywhere the numeric part runs: numpy, torch on the CPU (the code that CUDA takes), and CUDA where there is one."""

from __future__ import annotations

import pytest
import torch

from seatools.embed_init.array_place import NUMPY, Place

_CUDA = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
TORCH_PLACES = [
    pytest.param(Place(torch, torch.device("cpu")), id="torch"),
    pytest.param(Place(torch, torch.device("cuda")), id="cuda", marks=_CUDA),
]
PLACES = [pytest.param(NUMPY, id="numpy"), *TORCH_PLACES]
