"""Which token is whose, and hooks that come and go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from seatools.lsn_detect.statistics import Collector, Membership, observe
from seatools.streams.errors import SeaError


@pytest.mark.parametrize("numbers", [1, 200, 10**6])  # 16, 20 and all tokens a block
def test_products_with_blocks_are_sums_over_documents_and_halves(numbers, documents, batches, monkeypatch):
    monkeypatch.setattr("seatools.lsn_detect.statistics.BLOCK_NUMBERS_CPU", numbers)
    docs = documents(9)
    generator = torch.Generator().manual_seed(0)
    for batch in batches(docs, seq_len=45):
        rows, width = batch.batch.input_ids.shape
        x = torch.randn(rows, width, 10, generator=generator, dtype=torch.float64)
        membership = Membership(batch)
        sums, halves = x.new_zeros(membership.num_docs, 10), x.new_zeros(2, 10)
        for block in membership.blocks(10, x.dtype, x.device):
            own = x.reshape(-1, 10)[block.start : block.stop]
            sums[block.first : block.last] += block.documents @ own
            halves += block.halves @ own
        expected = [x[span.row, span.start : span.stop].sum(0) for span in batch.spans]
        torch.testing.assert_close(sums, torch.stack(expected))
        for half in (0, 1):
            of_half = [e for e, span in zip(expected, batch.spans, strict=True) if span.half == half]
            torch.testing.assert_close(halves[half], sum(of_half, torch.zeros(10, dtype=torch.float64)))
        assert membership.halves.tolist() == [span.half for span in batch.spans]


def test_blocks_of_padding_alone_are_left_out(documents, batches, monkeypatch):
    monkeypatch.setattr("seatools.lsn_detect.statistics.BLOCK_NUMBERS_CPU", 1)
    first, second = documents(2)
    (batch,) = batches([np.resize(first, 100), second], seq_len=100)
    membership = Membership(batch)
    blocks = membership.blocks(10, torch.float32, torch.device("cpu"))
    assert sum(block.stop - block.start for block in blocks) < membership.num_tokens
    assert sum(int(block.documents.sum()) for block in blocks) == batch.num_tokens


class Counter(Collector):
    """Calls of the final norm; `broken` fails on attaching a second hook."""

    def __init__(self, model: Any, broken: bool = False) -> None:
        super().__init__()
        self.module, self.broken, self.calls = model.model.norm, broken, 0

    def attach(self) -> None:
        self.handles.append(self.module.register_forward_pre_hook(self._count))
        if self.broken:
            raise SeaError("a layer that cannot be measured")

    def _count(self, module: Any, args: Any) -> None:
        assert args[0].shape[:2] == self.batch.batch.input_ids.shape
        self.calls += 1

    def arrays(self) -> dict[Any, Any]:
        return {}


def test_every_collector_sees_every_batch_and_progress_is_told(tiny, documents, batches):
    model, packed, told = tiny("llama"), batches(documents(6)), []
    collectors = [Counter(model), Counter(model)]
    observe(model, collectors, packed, told.append)
    assert [collector.calls for collector in collectors] == [len(packed)] * 2
    assert told == [batch.num_tokens for batch in packed]
    assert collectors[0].membership is collectors[1].membership
    assert not model.model.norm._forward_pre_hooks


def test_no_hook_stays_when_a_collector_cannot_be_attached(tiny, documents, batches):
    model = tiny("llama")
    with pytest.raises(SeaError, match="cannot be measured"):
        observe(model, [Counter(model), Counter(model, broken=True)], batches(documents(1)))
    assert not model.model.norm._forward_pre_hooks


def test_numbers_that_are_not_finite_are_refused(tiny, documents, batches):
    model = tiny("llama")
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    counter = Counter(model)
    with pytest.raises(SeaError, match="not finite"):
        observe(model, [counter], batches(documents(1)))
    assert not model.model.norm._forward_pre_hooks
