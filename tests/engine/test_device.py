"""What `auto` picks, and that what was asked for by name is never swapped."""

from __future__ import annotations

import pytest
import torch

from seatools.engine.device import pick_device, pick_dtype
from seatools.streams.errors import SeaError, UsageError


def test_auto_is_fp32_on_a_cpu_and_bf16_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("auto", torch.device("cuda")) == torch.bfloat16


def test_a_dtype_by_name_is_taken_as_it_is() -> None:
    assert [pick_dtype(name, torch.device("cpu")) for name in ("fp32", "bf16", "fp16")] == [
        torch.float32,
        torch.bfloat16,
        torch.float16,
    ]


def test_auto_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cpu").type == "cpu"


def test_cuda_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SeaError, match="--device cuda:"):
        pick_device("cuda")


def test_a_cuda_device_beyond_the_last_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(SeaError, match="has 2 CUDA"):
        pick_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "mps", ""])
def test_an_unknown_device_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError):
        pick_device(name)


def test_an_unknown_dtype_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        pick_dtype("int4", torch.device("cpu"))
