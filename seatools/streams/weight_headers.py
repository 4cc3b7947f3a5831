"""The weights of a model folder by their headers alone: its safetensors files and where the bytes of each tensor are.

Cost: config.json, the index, and one header a file.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatools.streams.errors import SeaError
from seatools.streams.float_bits import STORED
from seatools.streams.parsed import parse_json
from seatools.streams.tensors import read_header

if TYPE_CHECKING:
    import numpy as np

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
OTHER_WEIGHTS = (
    "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.h5", "*.msgpack",
    "*.gguf", "*.onnx", "*.ckpt",
)  # fmt: skip
"""Names of weight files of any kind; beside changed safetensors, other copies of the weights would be stale."""
_NESTED = ("text_config", "llm_config", "language_config")


@dataclass(frozen=True)
class Tensor:
    """One tensor of one file: where its bytes are."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Of its bytes in the file."""
    num_bytes: int

    def open(self) -> np.ndarray:
        """The stored bits as [rows, columns] (a vector as [rows, 1]), mapped from the file, not read."""
        import numpy as np

        shape = (self.shape[0], math.prod(self.shape[1:]))
        return np.memmap(self.path, STORED[self.dtype], "r", offset=self.start, shape=shape)


def vocabulary_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of config.json that speaks of the text model: nested in multimodal models, else the top."""
    for name in _NESTED:
        if isinstance(config.get(name), dict):
            return config[name]
    return config


def read_json_object(path: Path) -> dict[str, Any]:
    """A small JSON file of a model folder; SeaError for one that is missing, is no JSON or no object."""
    try:
        value = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise SeaError(f"{path} does not exist", fix="give a Hugging Face model folder") from error
    except (ValueError, OSError) as error:
        raise SeaError(f"{path} is not JSON: {error}", fix="fetch it again") from error
    if not isinstance(value, dict):
        raise SeaError(f"{path} is not a JSON object", fix="fetch it again")
    return value


def weight_files(folder: Path) -> tuple[list[str], dict[str, Any] | None]:
    """The safetensors files that transformers would read, in order, and the index if there is more than one."""
    if (folder / SINGLE).is_file():
        return [SINGLE], None
    if not (folder / INDEX).is_file():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth"))
        if pickles:
            raise SeaError(
                f"{folder} holds its weights as a pickle only ({pickles[0]})",
                fix="load it with transformers and save it again, which writes safetensors",
            )
        raise SeaError(f"{folder} holds neither {SINGLE} nor {INDEX}")
    index = read_json_object(folder / INDEX)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise SeaError(f"{folder / INDEX} has no weight_map", fix="fetch it again")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name:
            raise SeaError(f'{folder / INDEX} names "{name}", which is not a file of this folder')
        if not os.path.isfile(folder / name):
            raise SeaError(f"{folder / name} is missing, and {INDEX} names it", fix="fetch it again")
    return names, index


def file_tensors(path: Path) -> list[Tensor]:
    """The tensors of one file in the order of their bytes, which follow each other without a gap."""
    header, _, data_start = read_header(path)
    tensors = []
    for name, entry in header.items():
        try:
            begin, end = map(int, entry["data_offsets"])
            shape = tuple(map(int, entry["shape"]))
        except (TypeError, ValueError) as error:
            raise SeaError(f'{path}: tensor "{name}" has no valid entry in the header') from error
        tensor = Tensor(name, path, entry["dtype"], shape, data_start + begin, end - begin)
        stored = STORED.get(tensor.dtype)
        if stored is not None and tensor.num_bytes != math.prod(tensor.shape) * stored.itemsize:
            raise SeaError(f'{path}: "{name}" has {tensor.num_bytes:,} bytes, which its shape does not explain')
        tensors.append(tensor)
    tensors.sort(key=lambda tensor: (tensor.start, tensor.num_bytes))
    position = data_start
    for tensor in tensors:
        if tensor.start != position:
            raise SeaError(f'{path}: "{tensor.name}" does not begin where the tensor before it ends')
        position += tensor.num_bytes
    return tensors
