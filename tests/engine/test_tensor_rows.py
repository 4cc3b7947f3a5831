"""Rows written by any number of processes are read by any other number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seatools.engine.tensor_rows import MODEL_KIND, Rows, SavedTensors, rows_of
from seatools.streams.errors import SeaError


def cut(whole: torch.Tensor, rank: int, ranks: int) -> tuple[int, torch.Tensor]:
    """(first row, rows) of a rank as FSDP2 cuts them: torch.chunk, whose last pieces may be short or missing."""
    pieces = whole.chunk(ranks)
    if rank >= len(pieces):
        return len(whole), whole[:0]
    return sum(map(len, pieces[:rank])), pieces[rank]


def write(folder: Path, whole: dict[str, torch.Tensor], ranks: int) -> list[str]:
    names = []
    for rank in range(ranks):
        mine = {key: cut(tensor, rank, ranks) for key, tensor in whole.items()}
        kept = {key: rows.contiguous() for key, (_, rows) in mine.items() if len(rows)}
        starts = {key: {"saved_offsets": [mine[key][0], 0]} for key in kept}
        names.append(f"model-{rank + 1:05d}-of-{ranks:05d}.safetensors")
        save_file(kept, folder / names[-1], {"DCP_SHARDING_INFO": json.dumps(starts)})
    return names


@pytest.mark.parametrize("writers", [1, 2, 3, 4])
@pytest.mark.parametrize("readers", [1, 2, 3, 5])
def test_any_number_of_readers_get_their_rows(tmp_path: Path, writers: int, readers: int) -> None:
    whole = {str(n): torch.arange(2.0 * n).view(n, 2) for n in (1, 2, 3, 5, 8)}
    with SavedTensors(tmp_path, write(tmp_path, whole, writers)) as saved:
        assert saved.shared and saved.weights == whole.keys()
        for name, tensor in whole.items():
            assert saved.form(MODEL_KIND, name) == (tuple(tensor.shape), "F32")
            assert torch.equal(saved.read_weight(name, rows_of(tensor)), tensor)
            for rank in range(readers):
                start, expected = cut(tensor, rank, readers)
                part = Rows(torch.zeros_like(expected), tuple(tensor.shape), start, True)
                assert torch.equal(saved.read_weight(name, part), expected)


def test_rows_that_are_missing_or_twice_are_refused(tmp_path: Path) -> None:
    names = write(tmp_path, {"w": torch.zeros(9, 2)}, 3)
    for wrong in ([names[0], names[2]], names[1:], [*names, names[1]]):
        with pytest.raises(SeaError, match="rows of w missing or twice"), SavedTensors(tmp_path, wrong):
            pass
