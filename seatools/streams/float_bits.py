"""fp32, fp16 and bf16 as numpy: stored bits in, fp32 out, and back with round-to-nearest-even.

numpy has no bf16: its bits are the upper half of an fp32, so it is kept as uint16 and shifted. Rows that only move are
never converted, so they keep their bits. Cost: one pass over the rows converted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STORED: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
"""safetensors dtype -> how its bits are held in numpy."""


def to_float32(stored: np.ndarray, dtype: str) -> np.ndarray:
    """Exact fp32 values of stored rows (any shape); `dtype` is a key of `STORED`."""
    if dtype == "BF16":
        return np.left_shift(stored, 16, dtype=np.uint32).view(np.float32)
    return stored.astype(np.float32)


def from_float32(values: np.ndarray, dtype: str) -> np.ndarray:
    """fp32 values (any shape) as stored, rounded to nearest, ties to even; too large gives infinity, NaN stays NaN."""
    values = np.asarray(values, dtype=np.float32, order="C")
    if dtype != "BF16":
        with np.errstate(over="ignore"):
            return values.astype(STORED[dtype])
    bits = values.view(np.uint32)
    # Adding just under half of the dropped part, plus the kept part's last bit, carries exactly when to round up.
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    quiet_nan = (bits >> 16) | np.uint32(0x40)  # rounding could carry a NaN's payload into infinity or the sign
    return np.where(np.isnan(values), quiet_nan, rounded).astype(STORED[dtype])
