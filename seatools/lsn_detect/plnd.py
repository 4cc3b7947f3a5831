"""PLND: neurons without which a layer gives something else, in every document of a language (arXiv 2402.18815).

Imp(N | c) = || layer without N - layer ||_2 on document c (eq. 1). An FFN neuron (gate row, up row and down column,
one switch) has the closed form ||h[:, k]|| * ||W_down[:, k]||, h = act(gate) * up (eqs. 3-5); V, Q and K are in
attention_ablation.py. A neuron is selected in a document by Imp >= eps (paper; eps unpublished) or by being in the
top k of its layer and matrix (released code), and in the language by being so in `min_docs` of its documents (1: the
intersection). The core that all languages share is then taken away. Only counts per neuron are kept, in one pass over
each language; the score that is stored is the mean importance. Where the model norms the block's output (Gemma 2 and
3, OLMo 2) the change is measured before that norm: ranks agree with the exact value to 0.96-0.98 (Spearman, C2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seatools.engine.neurons import AttentionLayer, FFNLayer, attention_layers, ffn_layers
from seatools.lsn_detect.attention_ablation import MapChanges, map_changes, output_gram, value_changes
from seatools.lsn_detect.corpora import PackedBatch
from seatools.lsn_detect.neuron_weights import Place
from seatools.lsn_detect.statistics import Collector
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Tally(NamedTuple):
    """Of one place: in how many documents each neuron was selected, and the sum of its importances over them all."""

    selected: Tensor  # [n] int64
    importance: Tensor  # [n] float64


class Importances(Collector):
    """Per place the tally of every document that goes through the model; `num_docs` of them."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        parts: tuple[str, ...],
        seq_len: int,
        top_k: float | None = None,
        threshold: float | None = None,
    ) -> None:
        super().__init__()
        self.top_k, self.threshold = top_k, threshold
        self.num_docs = 0
        self.maps = "q" in parts or "k" in parts
        self.parts = parts
        self.ffn = ffn_layers(model) if "ffn" in parts else []
        self.attention = attention_layers(model) if self.maps or "v" in parts else []
        for layer in self.attention:
            check_attention(layer, seq_len if self.maps else None)
        self.precision = torch.float64 if model.dtype == torch.float64 else torch.float32
        self.tolerance = 5e-3 if model.dtype in (torch.float32, torch.float64) else 0.1
        self.tallies: dict[Place, Tally] = {}
        for ffn in self.ffn:
            self._add_tally((ffn.index, "ffn"), ffn.down.in_features, ffn.down)
        for layer in self.attention:
            sizes = {"q": layer.q, "k": layer.k, "v": layer.v}
            for part in (part for part in parts if part in sizes):
                self._add_tally((layer.index, part), sizes[part].out_features, layer.o)

    def _add_tally(self, place: Place, size: int, beside: nn.Linear) -> None:
        device = beside.weight.device
        empty = torch.zeros(size, dtype=torch.int64, device=device)
        self.tallies[place] = Tally(empty, torch.zeros(size, dtype=torch.float64, device=device))

    def begin(self, batch: PackedBatch) -> None:
        super().begin(batch)
        self.num_docs += len(batch.spans)

    def attach(self) -> None:
        for ffn in self.ffn:
            norms = torch.linalg.vector_norm(ffn.down.weight.to(self.precision), dim=0)
            self.handles.append(ffn.down.register_forward_pre_hook(self._ffn_hook(ffn, norms)))
        for layer in self.attention:
            self._attach_attention(layer)

    def _ffn_hook(self, ffn: FFNLayer, norms: Tensor) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Tensor, ...]) -> None:
            squares = [
                args[0][row, start:stop].to(self.precision).square().sum(0, dtype=torch.float64)
                for row, start, stop in self.batch.spans
            ]
            self._take((ffn.index, "ffn"), torch.stack(squares).sqrt() * norms)

        return hook

    def _attach_attention(self, layer: AttentionLayer) -> None:
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            def hook(module: Any, args: Any, output: Tensor) -> None:
                seen[name] = output

            return hook

        def keep_attended(module: Any, args: tuple[Tensor, ...]) -> None:
            seen["attended"] = args[0]

        gram = output_gram(layer.o.weight.to(self.precision), layer.num_kv_heads, layer.head_dim)

        def measure(module: Any, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
            if "v" in self.parts:
                rows = [value_changes(part, gram) for part in self._documents(seen["attended"])]
                self._take((layer.index, "v"), torch.stack(rows))
            if self.maps:
                changes = self._map_changes(layer, seen, kwargs.get("position_embeddings"))
                if "q" in self.parts:
                    self._take((layer.index, "q"), torch.stack([change.q for change in changes]))
                if "k" in self.parts:
                    self._take((layer.index, "k"), torch.stack([change.k for change in changes]))
            seen.clear()

        if self.maps:
            for name, linear in (("q", layer.q), ("k", layer.k), ("v", layer.v)):
                self.handles.append(linear.register_forward_hook(keep(name)))
        self.handles.append(layer.o.register_forward_pre_hook(keep_attended))
        self.handles.append(layer.module.register_forward_hook(measure, with_kwargs=True))

    def _documents(self, x: Tensor) -> list[Tensor]:
        """[T, width] of each document of the batch from `x` [B, T, width]."""
        return [x[row, start:stop].to(self.precision) for row, start, stop in self.batch.spans]

    def _map_changes(self, layer: AttentionLayer, seen: Mapping[str, Tensor], rope: Any) -> list[MapChanges]:
        """Q and K importances of each document, after a proof that the maps are the model's."""
        if not (isinstance(rope, tuple | list) and len(rope) == 2 and rope[0].shape[-1] == layer.head_dim):
            raise _unhandled(layer, "its rotary position embedding is not that of Llama, over whole heads")
        q = self._documents(_normed(layer, seen["q"], layer.q_norm))
        k = self._documents(_normed(layer, seen["k"], layer.k_norm))
        v, attended = self._documents(seen["v"]), self._documents(seen["attended"])
        cos, sin = (self._documents(x.expand(seen["q"].shape[0], -1, -1)) for x in rope)
        changes = []
        for i in range(len(q)):
            heads_q, heads_k, heads_v = (x[i].unflatten(1, (-1, layer.head_dim)).transpose(0, 1) for x in (q, k, v))
            change = map_changes(heads_q, heads_k, cos[i], sin[i], layer.scaling)
            group = layer.num_heads // layer.num_kv_heads
            ours = (change.maps @ heads_v.repeat_interleave(group, dim=0)).transpose(0, 1).flatten(1)
            # Whatever else the model does to q, k, v or the logits shows here.
            error = float((ours - attended[i]).norm() / attended[i].norm().clamp(min=1e-30))
            if not error <= self.tolerance:
                raise _unhandled(layer, f"its output is not softmax(q k^T) v as computed here (off by {error:.2g})")
            changes.append(change._replace(maps=change.maps.new_empty(0)))  # a map is large and done with
        return changes

    def _take(self, place: Place, importance: Tensor) -> None:
        """Count the documents' `importance` [docs, n] at `place`."""
        tally = self.tallies[place]
        tally.selected.add_(selected_in(importance, top_k=self.top_k, threshold=self.threshold).sum(0))
        tally.importance.add_(importance.sum(0, dtype=torch.float64))


def selected_in(importance: Tensor, *, top_k: float | None, threshold: float | None) -> Tensor:
    """Bool like `importance` [docs, n]: at least `threshold`, or the top round(`top_k` * n) of each document.

    Equals of the last of the top are in as well; what changes nothing at all is never selected.
    """
    if threshold is not None:
        return importance >= threshold
    assert top_k is not None
    num = max(1, round(top_k * importance.shape[1]))
    last = importance.topk(num, dim=1).values[:, -1:]
    return (importance >= last) & (importance > 0)


def language_sets(
    tallies: Mapping[str, Mapping[Place, Tally]], num_docs: Mapping[str, int], *, min_docs: float
) -> tuple[dict[str, dict[Place, np.ndarray]], int]:
    """For each language and place the chosen neurons, bool [n], and the size of the core taken from all of them.

    Chosen: selected in at least `min_docs` of the language's documents, and not so in all languages. With one language
    there is no core to know.
    """
    sets = {
        lang: {place: tally.selected.cpu().numpy() >= math.ceil(min_docs * num_docs[lang] - 1e-9)
               for place, tally in places.items()}
        for lang, places in tallies.items()
    }  # fmt: skip
    if len(sets) < 2:
        return sets, 0
    size = 0
    for place in next(iter(sets.values())):
        core = np.logical_and.reduce([chosen[place] for chosen in sets.values()])
        size += int(core.sum())
        for chosen in sets.values():
            chosen[place] &= ~core
    return sets, size


def check_attention(layer: AttentionLayer, seq_len: int | None) -> None:
    """SeaError, by name, for attention whose V (and, with `seq_len`, whose maps of rows that long) is not handled."""
    if getattr(layer.module, "v_norm", None) is not None:
        raise _unhandled(layer, "it norms its values", "--parts ffn")
    if seq_len is None:
        return
    if getattr(layer.module, "attn_logit_softcapping", None) is not None:
        raise _unhandled(layer, "it caps its logits")
    if getattr(layer.module, "sinks", None) is not None:
        raise _unhandled(layer, "it has attention sinks")
    window = _window(layer)
    if window is not None and window < seq_len:
        raise _unhandled(
            layer,
            f"its window of {window} is shorter than --seq-len {seq_len}",
            f"--seq-len {window}, or --parts ffn,v",
        )
    for norm in (layer.q_norm, layer.k_norm):
        if norm is not None and sum(weight.numel() for weight in norm.parameters()) not in _norm_sizes(layer):
            raise _unhandled(layer, f"its QK-norm ({type(norm).__name__}) is over neither a head nor all heads")


def _window(layer: AttentionLayer) -> int | None:
    """The sliding window of this layer: said by the module, or by the config for all layers (Mistral)."""
    if hasattr(layer.module, "sliding_window"):
        return layer.module.sliding_window  # type: ignore[return-value]
    config = getattr(layer.module, "config", None)
    return None if getattr(config, "layer_types", None) else getattr(config, "sliding_window", None)


def _norm_sizes(layer: AttentionLayer) -> tuple[int, ...]:
    return (layer.head_dim, layer.q.out_features, layer.k.out_features)


def _normed(layer: AttentionLayer, x: Tensor, norm: nn.Module | None) -> Tensor:
    """`x` [B, T, heads * d] after QK-norm, over each head (Qwen 3, Gemma 3) or over all of them (OLMo 2)."""
    if norm is None:
        return x
    if sum(weight.numel() for weight in norm.parameters()) == layer.head_dim:
        return norm(x.unflatten(-1, (-1, layer.head_dim))).flatten(-2)
    return norm(x)


def _unhandled(layer: AttentionLayer, why: str, fix: str = "--parts ffn,v, or --parts ffn") -> SeaError:
    what = f"the attention neurons of {type(layer.module).__name__} ({layer.name}) cannot be measured: {why}"
    return SeaError(what, fix=fix)
