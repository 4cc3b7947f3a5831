"""The FFN statistics of a mixture of experts: a forward of our own, in place of the module's while it is observed.

transformers keeps all experts of a layer in one module with stacked weights, whose forward shows no hook the
activations. Ours does the same sums, expert by expert, and counts on the way; at attach it is shown to give what the
module's own gives on made-up tokens that reach every expert (whatever implementation, grouped or not, the model runs
with), else SeaError. Switching off neuron i of expert e takes weight_t a_ti w_i from the block's output for the tokens
routed there, weight_t the router's: Imp = ||w_i|| sqrt(sum_t (weight_t a_ti)^2) over those of a document. `positive`
counts routed tokens with a positive gate, `routed` the tokens of each expert, squares and magnitudes are of a alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seatools.engine.neuron_layers import Experts, activation_function
from seatools.lsn_detect.statistics import Membership, one_hot_rows, precision_of
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from seatools.lsn_detect.ffn_statistics import FFNSums

_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
_HALF_TOLERANCE = 3e-2

# (expert, token [S], weight [S], gate [S, f], activation [S, f])
Seen = Callable[[int, Tensor, Tensor, Tensor, Tensor], None]


class _Replaced:
    """`module.forward` until `remove`."""

    def __init__(self, module: nn.Module, forward: Callable[..., Tensor]) -> None:
        self._module, self._before = module, vars(module).get("forward")
        module.forward = forward

    def remove(self) -> None:
        del self._module.forward
        if self._before is not None:  # a forward that accelerate had put there
            self._module.forward = self._before


def own_forward(experts: Experts, sums: FFNSums, membership: Callable[[], Membership]) -> _Replaced:
    """Put a forward into the module that counts into `sums`. SeaError, by name, if it would give something else."""
    check_same(experts)
    weight: Tensor = experts.module.down_proj  # type: ignore[assignment]
    norms = torch.stack([w.to(precision_of(w)).square().sum(0).sqrt() for w in weight])  # [E, f]

    def forward(hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:  # transformers' names
        counts = _Counts(experts, sums, membership(), hidden_states)
        output = run_experts(experts, hidden_states, top_k_index, top_k_weights, counts.see)
        counts.take(norms)
        return output

    return _Replaced(experts.module, forward)


class _Counts:
    """What one batch adds to the sums of a layer of experts."""

    def __init__(self, experts: Experts, sums: FFNSums, membership: Membership, hidden: Tensor) -> None:
        if hidden.numel() != hidden.shape[-1] * membership.num_tokens:
            raise SeaError(f"{type(experts.module).__name__} ({experts.name}) does not take all tokens at once")
        self.sums, self.membership, self.dtype = sums, membership, precision_of(hidden)
        self.shape = experts.num_experts, experts.width
        self.owners, self.halves = membership.on(hidden.device)
        self.token_halves = torch.where(self.owners < 0, -1, self.halves[self.owners])
        self.squares = hidden.new_zeros(membership.num_docs, *self.shape, dtype=self.dtype)

    def see(self, expert: int, token: Tensor, weight: Tensor, gate: Tensor, activation: Tensor) -> None:
        documents = one_hot_rows(self.owners[token], self.membership.num_docs, self.dtype)
        halves = one_hot_rows(self.token_halves[token], 2, self.dtype)
        magnitudes = activation.abs().to(self.dtype)
        self._into(self.sums.positive, expert).add_((halves @ (gate > 0).to(self.dtype)).to(torch.int64))
        self._into(self.sums.absolute, expert).add_(halves @ magnitudes)
        magnitudes.mul_(magnitudes)
        self._into(self.sums.squares, expert).add_(halves @ magnitudes)
        self.squares[:, expert] = (documents * weight.to(self.dtype).square()) @ magnitudes
        assert self.sums.routed is not None
        self.sums.routed[:, expert] += halves.sum(1).to(torch.int64)

    def _into(self, sums: Tensor, expert: int) -> Tensor:
        return sums.unflatten(1, self.shape)[:, expert]

    def take(self, norms: Tensor) -> None:
        """Count the documents."""
        self.sums.tally.add((self.squares.sqrt_() * norms).flatten(1), self.halves)


def run_experts(experts: Experts, hidden: Tensor, index: Tensor, weights: Tensor, see: Seen | None = None) -> Tensor:
    """What the module gives for `hidden` [N, D], `index` [N, k] and `weights` [N, k], expert by expert."""
    module: Any = experts.module
    rows = hidden.reshape(-1, hidden.shape[-1])
    output = torch.zeros_like(rows)
    # One synchronisation: where the slots of each expert lie once they are sorted by it.
    ordered, order = index.flatten().sort(stable=True)
    bounds = torch.searchsorted(ordered, torch.arange(experts.num_experts + 1, device=index.device)).tolist()
    for expert in range(experts.num_experts):
        slots = order[bounds[expert] : bounds[expert + 1]]
        if not len(slots):
            continue
        token, weight = slots // index.shape[1], weights.flatten()[slots]
        gate_up = nn.functional.linear(rows[token], module.gate_up_proj[expert])
        activation = _activated(module, gate_up)
        given = nn.functional.linear(activation, module.down_proj[expert]) * weight[:, None]
        output.index_add_(0, token, given.to(output.dtype))
        if see is not None:
            see(expert, token, weight, gate_up[:, : experts.width], activation)
    return output.view_as(hidden)


def _activated(module: Any, gate_up: Tensor) -> Tensor:
    """The neurons' activation: by the module's own rule where it has one (transformers' `_apply_gate`)."""
    if hasattr(module, "_apply_gate"):
        return module._apply_gate(gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    act = activation_function(module)
    assert act is not None  # find_layers has seen it
    return act(gate) * up


@torch.no_grad()
def check_same(experts: Experts) -> None:
    """SeaError, by name, where `run_experts` differs from the module, or its gate is not act(first half) * second."""
    module: Any = experts.module
    weight: Tensor = module.gate_up_proj
    generator = torch.Generator().manual_seed(0)
    chosen = min(2, experts.num_experts)
    tokens = experts.num_experts  # two for each expert

    def made_up(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(weight)

    hidden, gate_up = made_up(tokens, weight.shape[2]), made_up(4, 2 * experts.width)
    index = torch.arange(tokens * chosen, device=weight.device).view(tokens, chosen) % experts.num_experts
    weights = made_up(tokens, chosen).abs()
    gate, up = gate_up.chunk(2, dim=-1)
    act = activation_function(module)
    same = act is not None and _close(_activated(module, gate_up), act(gate) * up)
    if not same or not _close(run_experts(experts, hidden, index, weights), module(hidden, index, weights)):
        raise SeaError(
            f"{type(module).__name__} ({experts.name}) does not give what its experts give one by one: its neurons "
            "cannot be measured",
            fix="--parts q,k,v,o",
        )


def _close(ours: Tensor, theirs: Tensor) -> bool:
    error = (ours.double() - theirs.double()).norm() / theirs.double().norm().clamp(min=1e-30)
    return bool(error <= _TOLERANCE.get(theirs.dtype, _HALF_TOLERANCE))
