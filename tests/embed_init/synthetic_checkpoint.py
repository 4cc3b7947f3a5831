"""Checkpoints of any tensors, written byte by byte: what no library writes is here too (fp8, odd orders, fp4)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2} | dict.fromkeys(
    ("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 1
)


@dataclass(frozen=True)
class Stored:
    """One tensor as a file holds it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes = b""

    def filled(self, random: np.random.Generator) -> Stored:
        """With random bytes; the numbers of fp32, fp16 and bf16 are finite, bool is 0 or 1."""
        count = math.prod(self.shape)
        if self.dtype in ("F32", "F16", "BF16"):
            values = random.normal(size=count).astype(np.float32)
            if self.dtype == "BF16":
                return replace(self, data=(values.view(np.uint32) >> 16).astype("<u2").tobytes())
            return replace(self, data=values.astype({"F32": "<f4", "F16": "<f2"}[self.dtype]).tobytes())
        high = 2 if self.dtype == "BOOL" else 256
        return replace(self, data=random.integers(0, high, count * WIDTH[self.dtype], dtype=np.uint8).tobytes())


def write_file(path: Path, tensors: list[Stored], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file with the tensors in this order."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for tensor in tensors:
        end = offset + len(tensor.data)
        header[tensor.name] = {"dtype": tensor.dtype, "shape": [*tensor.shape], "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensor.data for tensor in tensors))


def write_checkpoint(folder: Path, files: list[list[Stored]], config: dict[str, Any]) -> Path:
    """Weight files (one: model.safetensors; several: shards and their index) and config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if len(files) == 1:
        write_file(folder / "model.safetensors", files[0], {"format": "pt"})
        return folder
    weight_map, size = {}, 0
    for number, tensors in enumerate(files, 1):
        name = f"model-{number:05}-of-{len(files):05}.safetensors"
        write_file(folder / name, tensors, {"format": "pt"})
        weight_map |= {tensor.name: name for tensor in tensors}
        size += sum(len(tensor.data) for tensor in tensors)
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def read_files(folder: Path) -> dict[str, Stored]:
    """Every tensor of every weight file, by name."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        content = path.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        for name, entry in json.loads(content[8:start]).items():
            if name != "__metadata__":
                begin, end = (start + offset for offset in entry["data_offsets"])
                found[name] = Stored(name, entry["dtype"], tuple(entry["shape"]), content[begin:end])
    return found
