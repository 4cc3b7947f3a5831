"""Stored bits and fp32, against torch."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.float_bits import from_float32, to_float32


def test_every_bf16_value_comes_back_with_its_bits() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[~np.isnan(to_float32(bits, "BF16"))]
    assert np.array_equal(from_float32(to_float32(bits, "BF16"), "BF16"), bits)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1))
def test_bf16_rounds_as_torch_does(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    expected = torch.tensor(values).to(torch.bfloat16).view(torch.uint16).numpy()
    assert np.array_equal(from_float32(array, "BF16"), expected)


def test_bf16_ties_go_to_the_even_neighbour() -> None:
    ties = np.array([0x3F808000, 0x3F818000], dtype=np.uint32).view(np.float32)
    assert from_float32(ties, "BF16").tolist() == [0x3F80, 0x3F82]


def test_nan_stays_nan_and_keeps_its_sign() -> None:
    nans = np.array([0x7F800001, 0xFFFFFFFF], dtype=np.uint32).view(np.float32)
    stored = from_float32(nans, "BF16")
    assert np.isnan(to_float32(stored, "BF16")).all() and (stored >> 15).tolist() == [0, 1]


def test_fp16_rounds_as_torch_does() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert np.array_equal(from_float32(values, "F16"), torch.from_numpy(values).half().numpy())


def test_any_shape_stays() -> None:
    for shape in ((), (0,), (2, 0), (1, 2, 3)):
        for dtype in ("F32", "F16", "BF16"):
            assert from_float32(np.ones(shape, np.float32), dtype).shape == shape
