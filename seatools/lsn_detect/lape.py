"""LAPE: neurons whose activation probability is concentrated on few languages (Tang et al., arXiv 2402.16438).

p = share of a language's tokens on which act(x W_gate) > 0. The probabilities of a neuron, normalised over the
languages, have an entropy (natural log, 0 log 0 = 0); the `share` of all neurons with the lowest is kept, among those
that some language has above the `percentile` of all probabilities. A kept neuron belongs to every language above that
same bar. Steps and rounding are the official code's (kthvalue of round(n * 0.95), topk of round(n * 0.01)), in float64;
equal entropies go by position, and a neuron below the bar is never kept, not even to fill the share. The score that is
stored is p in that language.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seatools.engine.neurons import ffn_layers
from seatools.lsn_detect.corpora import PackedBatch
from seatools.lsn_detect.statistics import Collector
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# act(x) > 0 exactly where x > 0, so the sign of gate_proj's output tells it.
SIGN_KEEPING = (
    "silu", "swish", "gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "quick_gelu", "relu",
)  # fmt: skip


class GateCounts(Collector):
    """Per layer, on how many tokens each neuron's gate was positive: `counts` int64 [d_ff] a layer, `num_tokens`."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        check_activation(model)
        self.layers = ffn_layers(model)
        self.counts = [
            torch.zeros(layer.gate.out_features, dtype=torch.int64, device=layer.gate.weight.device)
            for layer in self.layers
        ]
        self.num_tokens = 0

    def attach(self) -> None:
        for layer, counts in zip(self.layers, self.counts, strict=True):
            self.handles.append(layer.gate.register_forward_hook(self._count_into(counts)))

    def begin(self, batch: PackedBatch) -> None:
        super().begin(batch)
        self._is_text = torch.zeros_like(batch.batch.input_ids, dtype=torch.bool)
        for row, start, stop in batch.spans:
            self._is_text[row, start:stop] = True
        self.num_tokens += batch.num_tokens

    def flat(self) -> np.ndarray:
        """All layers' counts one after another, int64 [neurons]."""
        return torch.cat(self.counts).cpu().numpy()

    def _count_into(self, counts: torch.Tensor) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: torch.Tensor) -> None:
            counts.add_(((output > 0) & self._is_text[..., None].to(output.device)).sum((0, 1)))

        return hook


def check_activation(model: PreTrainedModel) -> None:
    """SeaError, naming it, for an activation whose sign is not that of its argument."""
    config: Any = model.config.get_text_config(decoder=True)
    name = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
    if name not in SIGN_KEEPING:
        raise SeaError(
            f"{type(model).__name__} has the activation {name!r}; LAPE needs one that is positive where its input is",
            fix=f"a model with one of {', '.join(SIGN_KEEPING)}, or --method plnd",
        )


@dataclass(frozen=True)
class LapeSelection:
    """`chosen` bool [languages, neurons], `probabilities` float64 of the same shape, and how it came about."""

    chosen: np.ndarray
    probabilities: np.ndarray
    bar: float
    """The percentile's probability (t95)."""
    num_wanted: int
    """round(share * neurons)."""

    @property
    def num_kept(self) -> int:
        """Neurons of any language; less than `num_wanted` only where too few neurons pass the bar."""
        return int(self.chosen.any(0).sum())


def entropies(probabilities: np.ndarray) -> np.ndarray:
    """LAPE float64 [neurons] of `probabilities` [languages, neurons]; 0 for a neuron that is never active."""
    total = probabilities.sum(0)
    normed = probabilities / np.where(total > 0, total, 1)
    return -(normed * np.log(np.where(normed > 0, normed, 1))).sum(0)


def select(counts: np.ndarray, num_tokens: np.ndarray, *, percentile: float, share: float) -> LapeSelection:
    """LAPE from positive-gate `counts` int64 [languages, neurons] and `num_tokens` int64 [languages]."""
    if len(counts) < 2:
        raise SeaError("LAPE compares languages and needs two at least", fix="another --lang, or --method plnd")
    num_wanted = round(counts.shape[1] * share)
    if num_wanted == 0:
        raise SeaError(f"{share} of {counts.shape[1]:,} FFN neurons is none", fix="a larger --share")
    probabilities = counts / num_tokens[:, None]
    rank = max(1, round(probabilities.size * percentile))
    bar = float(np.partition(probabilities, rank - 1, axis=None)[rank - 1])
    scores = np.where((probabilities > bar).any(0), entropies(probabilities), np.inf)
    lowest = np.argsort(scores, kind="stable")[:num_wanted]
    kept = np.zeros(counts.shape[1], dtype=bool)
    kept[lowest[np.isfinite(scores[lowest])]] = True
    return LapeSelection((probabilities > bar) & kept, probabilities, bar, num_wanted)
