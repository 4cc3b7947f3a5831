"""The closed form of Q and K against the first order, written out; the exact form against another softmax."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from seatools.lsn_detect.attention_ablation import exact
from seatools.lsn_detect.attention_maps import Heads, Room, Turn, documents_of_one_length, first_order

NUM, LENGTH, GROUPS, R, D = 2, 37, 2, 3, 8
CASES: dict[str, dict[str, Any]] = {
    "causal": {},
    "window": dict(window=7),
    "window of a block": dict(window=16),
    "softcap": dict(softcap=1.5),
    "softcap and window": dict(softcap=1.5, window=20),
    "interleaved": dict(order=torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])),
}


def made_up(dtype: torch.dtype = torch.float64, bias: float = 0.0, length: int = LENGTH, **changes: Any) -> Heads:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    q, k = random(NUM, length, GROUPS, R, D), random(NUM, length, GROUPS, D)
    k += bias * random(1, 1, GROUPS, D)
    angles = 3 * random(NUM, D // 2, length)
    turn = Turn.by((1.1 * angles.cos()).to(dtype), (1.1 * angles.sin()).to(dtype))  # YaRN scales cos and sin
    return Heads(q.to(dtype), k.to(dtype), changes.pop("order", None), turn, 0.6, **changes)


def probe_of(heads: Heads) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(NUM, GROUPS, 3, heads.q.shape[1], generator=generator, dtype=torch.float64).to(heads.q.dtype)


def turned(x: Tensor, heads: Heads) -> Tensor:
    """RoPE of `x` [N, T, .., d] in the model's order, spelled out by pairs."""
    order = torch.arange(D) if heads.order is None else heads.order
    cos, sin = (part.mT.reshape(NUM, -1, *[1] * (x.ndim - 3), D // 2) for part in heads.turn[:2])
    first, second = x[..., order[: D // 2]], x[..., order[D // 2 :]]
    result = torch.empty_like(x)
    result[..., order[: D // 2]] = first * cos - second * sin
    result[..., order[D // 2 :]] = second * cos + first * sin
    return result


def logits_of(q: Tensor, k: Tensor, heads: Heads) -> Tensor:
    return heads.scaling * torch.einsum("ntgrd,nsgd->ngrts", turned(q, heads), turned(k, heads))


def maps_of(logits: Tensor, heads: Heads) -> Tensor:
    apart = torch.arange(logits.shape[-1])[:, None] - torch.arange(logits.shape[-1])
    hidden = (apart < 0) | (apart >= (heads.window or 1000))
    if heads.softcap is not None:
        logits = heads.softcap * torch.tanh(logits / heads.softcap)
    return logits.masked_fill(hidden, -torch.inf).softmax(-1)


def written_out(heads: Heads, how: str) -> tuple[Tensor, Tensor]:
    """||dA||^2 of every row of Q and K, one by one: to first order (the derivative of the maps), or exactly."""
    logits = logits_of(heads.q, heads.k, heads)
    maps = maps_of(logits, heads)
    order = range(D) if heads.order is None else heads.order.tolist()
    squares: dict[str, list[Tensor]] = {"q": [], "k": []}
    for part, rows in squares.items():
        for coordinate in order:
            x = getattr(heads, part)
            only = torch.zeros_like(x)
            only[..., coordinate] = x[..., coordinate]
            lost = logits_of(only, heads.k, heads) if part == "q" else logits_of(heads.q, only, heads)
            if how == "exact":
                change = maps_of(logits - lost, heads) - maps
            else:
                _, change = torch.autograd.functional.jvp(lambda at: maps_of(at, heads), logits, lost)
            rows.append(change.square().sum((-1, -2)))
    return torch.stack(squares["q"], -1), torch.stack(squares["k"], -1).sum(2)


@pytest.mark.parametrize("block", [7, 16, 64])
@pytest.mark.parametrize("case", CASES)
def test_closed_form_is_the_first_order_of_the_maps(case, block):
    heads = made_up(**CASES[case])
    found = first_order(heads, probe_of(heads), Room(), block)
    for ours, theirs in zip(found[:2], written_out(heads, "first order"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("chunk_elements", [1, None])
@pytest.mark.parametrize("case", CASES)
def test_exact_is_another_softmax(case, chunk_elements):
    heads = made_up(**CASES[case])
    found = exact(heads, probe_of(heads), chunk_elements)
    for ours, theirs in zip(found[:2], written_out(heads, "exact"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("measure", [lambda *x: first_order(*x, Room(), 16), exact])
@pytest.mark.parametrize("case", CASES)
def test_probe_tells_the_maps(case, measure):
    heads = made_up(**CASES[case])
    maps = maps_of(logits_of(heads.q, heads.k, heads), heads)
    told = torch.einsum("ngrts,ngps->ngrpt", maps, probe_of(heads))
    torch.testing.assert_close(measure(heads, probe_of(heads)).probed, told, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("measure", [lambda *x: first_order(*x, Room(), 16), exact])
def test_padding_changes_nothing(measure):
    heads = made_up()
    found = measure(heads, probe_of(heads))
    longer = made_up(length=LENGTH + 9)
    weights = (torch.arange(LENGTH + 9) < LENGTH).double()
    angles = Turn.by(*(torch.nn.functional.pad(x, (0, 9), value=7.0) * weights for x in heads.turn[:2]))
    q, k = longer.q.clone(), longer.k.clone()
    q[:, :LENGTH], k[:, :LENGTH] = heads.q, heads.k
    padded = measure(replace(longer, q=q, k=k, turn=angles), probe_of(longer))
    torch.testing.assert_close(padded.q, found.q, rtol=1e-10, atol=0)
    torch.testing.assert_close(padded.k, found.k, rtol=1e-10, atol=0)


@pytest.mark.parametrize("bias", [0.0, 30.0])
def test_float32_keeps_five_digits_also_with_large_key_biases(bias):
    """Without turning, a bias of the keys changes no map, and no Q row's importance."""
    still = Turn.by(torch.ones(NUM, D // 2, LENGTH), torch.zeros(NUM, D // 2, LENGTH))
    heads = replace(made_up(torch.float32, bias), turn=still)
    wide = replace(heads, q=heads.q.double(), k=heads.k.double(), turn=Turn(*(x.double() for x in still)))
    narrow = first_order(heads, probe_of(heads), Room())
    precise = first_order(wide, probe_of(wide), Room())
    torch.testing.assert_close(narrow.q, precise.q, rtol=2e-5, atol=0)


def test_one_room_serves_documents_of_any_size():
    room, heads = Room(), made_up()
    fresh = first_order(heads, probe_of(heads), Room())
    larger = made_up(length=90)
    first_order(larger, probe_of(larger), room)
    again = first_order(heads, probe_of(heads), room)
    assert all(torch.equal(x, y) for x, y in zip(fresh, again, strict=True))


def test_groups_have_every_document_once_and_waste_little():
    lengths = [512, 20, 500, 9, 511, 130, 21, 12, 512]
    groups = list(documents_of_one_length(lengths, num_heads=4, limit=1 << 19, block=64))
    assert sorted(index for _, group in groups for index in group) == list(range(9))
    for longest, group in groups:
        assert longest == max(lengths[index] for index in group)
        assert all(longest - lengths[index] <= max(8, longest // 16) for index in group)
        assert len(group) == 1 or len(group) * 4 * min(64, longest) * longest <= 1 << 19
    assert len(groups) < 9


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("case", CASES)
def test_cuda_is_the_cpu(case):
    def there(x: Any) -> Any:
        return x.cuda() if isinstance(x, Tensor) else x

    heads = made_up(**CASES[case])
    moved = replace(
        heads, q=heads.q.cuda(), k=heads.k.cuda(), order=there(heads.order), turn=Turn(*map(there, heads.turn))
    )
    for measure in (lambda *x: first_order(*x, Room(), 16), exact):
        found, expected = measure(moved, probe_of(heads).cuda()), measure(heads, probe_of(heads))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-9, atol=1e-12)
