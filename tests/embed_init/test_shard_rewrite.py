"""One safetensors file with one tensor replaced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from seatools.embed_init.checkpoint import read_checkpoint
from seatools.embed_init.matrix_edit import ZERO, MatrixEdit
from seatools.embed_init.shard_rewrite import rewrite_shard


def test_wider_tensors_behind_a_matrix_that_grew_stay_aligned(tmp_path: Path) -> None:
    """bf16 [2, 3] and then fp32 [2]: with a third row the fp32 would begin at byte 18."""
    table = np.arange(6, dtype=np.uint16)
    header = {
        "__metadata__": {"format": "pt"},
        "model.embed_tokens.weight": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        "norm": {"dtype": "F32", "shape": [2], "data_offsets": [12, 20]},
        "flag": {"dtype": "BOOL", "shape": [], "data_offsets": [20, 21]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = table.tobytes() + np.float32([1.5, 2.5]).tobytes() + b"\x01"
    source = tmp_path / "model.safetensors"
    source.write_bytes(len(text).to_bytes(8, "little") + text + data)
    (tmp_path / "config.json").write_text('{"vocab_size": 2, "hidden_size": 3}')
    checkpoint = read_checkpoint(tmp_path)
    row = np.array([[7, 8, 9]], dtype=np.uint16)
    edit = MatrixEdit(checkpoint.embedding, np.array([1, 0, ZERO]), np.array([2]), row)
    target = tmp_path / "out.safetensors"
    rewrite_shard(source, target, checkpoint.files["model.safetensors"], {"model.embed_tokens.weight": edit})
    tensors = load_file(target)
    bits = tensors["model.embed_tokens.weight"].view(torch.uint16)
    assert bits.tolist() == [[3, 4, 5], [0, 1, 2], [7, 8, 9]]
    assert tensors["norm"].tolist() == [1.5, 2.5] and tensors["flag"].item() is True
    length = int.from_bytes(target.read_bytes()[:8], "little")
    written = json.loads(target.read_bytes()[8 : 8 + length])
    assert written["norm"]["data_offsets"][0] % 4 == 0 and written["__metadata__"] == {"format": "pt"}
