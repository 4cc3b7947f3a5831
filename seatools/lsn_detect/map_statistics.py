"""Rows of Q and K in one pass: what the attention maps lose without each, to first order or exactly.

The hooks see queries and keys before RoPE, and cos and sin as they are handed to the attention; maps are computed from
these once more. That they are the model's maps is proven on every batch: times random projections of the values they
must give those projections of what enters the projection out (8 more columns of 8 d). On the first batch each layer
takes the RoPE kind with the smallest difference; what no kind explains (ALiBi, attention sinks, RoPE inside the
attention) is refused by name. Later proofs are read a batch late, so that a GPU is not waited for.
Cost, in documents of 512 tokens on one CPU core (D 768, 12 heads of 64 on 4 key heads, d_ff 2048): 0.41 to 0.57 of
the forward pass; the products at the speed of its own would be 0.19.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seatools.engine.neuron_layers import Attention, Layers
from seatools.lsn_detect.attention_ablation import exact
from seatools.lsn_detect.attention_maps import (
    BLOCK_CPU,
    BLOCK_GPU,
    Heads,
    MapChanges,
    Room,
    Turn,
    documents_of_one_length,
    first_order,
)
from seatools.lsn_detect.corpora import PackedBatch
from seatools.lsn_detect.head_rows import head_rows, source_of
from seatools.lsn_detect.rope_kinds import RopeKind, rope_kinds
from seatools.lsn_detect.statistics import Collector, Membership, precision_of
from seatools.lsn_detect.tally import Tally
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FIX = "--parts ffn,v,o"
TOLERANCES = {torch.float64: 1e-5, torch.float32: 1e-3}  # of a proof; eager attention has a softmax in float32
LOW_PRECISION = 0.1
_NUM_PROBES = 8
_BLOCK_NUMBERS_CPU, _BLOCK_NUMBERS_GPU = 1 << 19, 1 << 27  # of the maps of documents that go together


class Group(NamedTuple):
    """Documents of a batch that are padded to T tokens and go together."""

    documents: list[int]  # numbers in the membership
    tokens: Tensor | slice  # flat positions int64 [N, T], of a single document a slice
    weights: Tensor | None  # [N, T]: 0 at padding; None without any


class MapStatistics(Collector):
    """Tallies of "q" and "k", as far as they are among `parts`, of every layer.

    `is_exact`: by ablation of the softmax, not to first order. SeaError, by name, for attention that is not handled.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Layers,
        *,
        parts: tuple[str, ...] = ("q", "k"),
        top_k: tuple[float, ...],
        thresholds: tuple[float, ...] = (),
        is_exact: bool = False,
    ) -> None:
        super().__init__()
        self.is_exact = is_exact
        self.parts = [part for part in ("q", "k") if part in parts]
        self.places = {place.key: place for place in layers.places(self.parts)}
        self.layers = layers.attention if self.parts else ()
        self.tolerance = TOLERANCES.get(model.dtype, LOW_PRECISION)
        self.kinds: dict[int, RopeKind] = {}
        self.tallies: dict[tuple[int, str], Tally] = {}
        self._room = Room()
        self._groups: list[Group] = []
        self._turns: dict[tuple[int, int, str], tuple[Any, Turn]] = {}
        self._proofs: dict[int, Tensor] = {}
        self._probes: dict[tuple[int, torch.device], Tensor] = {}
        for layer in self.layers:
            if getattr(layer.module, "sinks", None) is not None:
                raise unhandled(layer, "it has attention sinks")
            device = next(layer.o.parameters()).device
            for part in self.parts:
                tally = Tally(layer.places[part], device, top_k=top_k, thresholds=thresholds)
                self.tallies[layer.layer, part] = tally

    def arrays(self) -> dict[tuple[int, str], dict[str, np.ndarray]]:
        """Those of the tallies. SeaError if the maps of the last batch were not the model's."""
        self._check_proofs()
        return {key: tally.arrays() for key, tally in self.tallies.items()}

    def begin(self, batch: PackedBatch, membership: Membership | None = None) -> None:
        super().begin(batch, membership)
        self._check_proofs()
        self._turns.clear()
        self._groups = []
        if not self.layers:
            return
        device, width = batch.batch.input_ids.device, batch.batch.input_ids.shape[1]
        limit, block = (_BLOCK_NUMBERS_GPU, BLOCK_GPU) if device.type == "cuda" else (_BLOCK_NUMBERS_CPU, BLOCK_CPU)
        spans = sorted(batch.spans)
        lengths = [span.stop - span.start for span in spans]
        for longest, documents in documents_of_one_length(lengths, self.layers[0].num_heads, limit, block):
            first = np.array([spans[i].row * width + spans[i].start for i in documents])
            if len(documents) == 1:
                self._groups.append(Group(documents, slice(first[0], first[0] + longest), None))
                continue
            steps, ends = np.arange(longest), np.array([lengths[i] for i in documents])
            tokens = first[:, None] + np.minimum(steps, ends[:, None] - 1)
            weights = (steps < ends[:, None]).astype(np.float32)
            padded = torch.from_numpy(weights).to(device) if ends.min() < longest else None
            self._groups.append(Group(documents, torch.from_numpy(tokens).to(device), padded))

    def attach(self) -> None:
        for layer in self.layers:
            self._attach(layer)

    def _attach(self, layer: Attention) -> None:
        seen: dict[str, Tensor] = {}

        def keep(parts: list[str]) -> Callable[..., None]:
            def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
                shape = self.batch.batch.input_ids.shape
                for part in parts:
                    seen[part] = head_rows(layer, part, args[0], output, (shape[0], shape[1]))

            return hook

        def keep_attended(module: Any, args: tuple[Tensor, ...]) -> None:
            seen["o"] = args[0]

        def measure(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            rope = kwargs.get("position_embeddings")
            if rope is None:
                rope = next((arg for arg in args if isinstance(arg, tuple | list)), None)
            self._measure(layer, seen, rope)
            seen.clear()

        sources: dict[Any, list[str]] = {}
        for part in ("q", "k", "v"):
            sources.setdefault(source_of(layer, part), []).append(part)
        for module, parts in sources.items():
            self.handles.append(module.register_forward_hook(keep(parts)))
        self.handles.append(layer.o.register_forward_pre_hook(keep_attended))
        self.handles.append(layer.module.register_forward_hook(measure, with_kwargs=True))

    def _measure(self, layer: Attention, seen: Mapping[str, Tensor], rope: Any) -> None:
        device, membership = seen["o"].device, self.membership
        d, heads, groups = layer.head_dim, layer.num_heads, layer.num_kv_heads
        dtype = precision_of(seen["q"])
        q, k, v = (seen[part].reshape(-1, count, d) for part, count in (("q", heads), ("k", groups), ("v", groups)))
        probe = self._probe(d, device).to(dtype)
        rope = rope if _is_rope(rope) else None
        squares = {
            "q": torch.zeros(membership.num_docs, heads * d, dtype=torch.float64, device=device),
            "k": torch.zeros(membership.num_docs, groups * d, dtype=torch.float64, device=device),
        }
        for number, group in enumerate(self._groups):
            rows = _rows(q, group), _rows(k, group)
            values = (_rows(v, group).to(dtype) @ probe).permute(0, 2, 3, 1)  # [N, KV, P, T]
            told = _rows(seen["o"].reshape(-1, heads, d), group).to(dtype) @ probe  # [N, T, H, P]
            if layer.layer not in self.kinds:
                self.kinds[layer.layer] = self._find_kind(layer, number, rows, values, told, rope)
            kind = self.kinds[layer.layer]
            changes = self._changes(layer, kind, number, rows, values, rope)
            error = _difference(changes.probed, told, group.weights)
            last = self._proofs.get(layer.layer)
            self._proofs[layer.layer] = error if last is None else torch.maximum(last, error)
            order = torch.tensor(kind.order, device=device)
            for part, found in (("q", changes.q), ("k", changes.k)):
                ordered = torch.empty_like(found)
                ordered[..., order] = found
                squares[part][group.documents] = ordered.flatten(1)
        for part in self.parts:
            self.tallies[layer.layer, part].add(squares[part].sqrt_(), membership.on(device)[1])

    def _probe(self, d: int, device: torch.device) -> Tensor:
        if (d, device) not in self._probes:
            generator = torch.Generator().manual_seed(0)
            drawn = torch.randn(d, _NUM_PROBES, generator=generator, dtype=torch.float64)
            self._probes[d, device] = drawn.to(device)
        return self._probes[d, device]

    def _changes(
        self, layer: Attention, kind: RopeKind, number: int, rows: tuple[Tensor, Tensor], values: Tensor, rope: Any
    ) -> MapChanges:
        q, k = rows
        turn = self._turn(kind, number, rope, layer.head_dim, values)
        order = None if kind.is_identity else torch.tensor(kind.order, device=q.device)
        q = q.unflatten(2, (layer.num_kv_heads, -1))
        heads = Heads(q, k, order, turn, layer.scaling, layer.window, layer.softcap)
        return exact(heads, values) if self.is_exact else first_order(heads, values, self._room)

    def _turn(self, kind: RopeKind, number: int, rope: Any, d: int, like: Tensor) -> Turn:
        """The angles of a group: the same for all layers that are given the same cos and sin."""
        key = id(rope[0]) if rope is not None else 0, number, kind.name
        if key not in self._turns:
            group = self._groups[number]
            rows, width = self.batch.batch.input_ids.shape
            if rope is None:
                rope = (like.new_zeros(1, 1, 0),) * 2
            cos, sin = (x.to(like.dtype).expand(rows, width, -1).reshape(rows * width, -1) for x in rope)
            angles = [_rows(x, group).mT.contiguous() for x in kind.angles(cos, sin)]
            if group.weights is not None:
                angles = [x * group.weights[:, None] for x in angles]
            self._turns[key] = rope, Turn.by(*angles)
        return self._turns[key][1]

    def _find_kind(
        self, layer: Attention, number: int, rows: tuple[Tensor, Tensor], values: Tensor, told: Tensor, rope: Any
    ) -> RopeKind:
        kinds = rope_kinds(layer.head_dim, None if rope is None else rope[0].shape[-1])
        if not kinds:
            raise unhandled(layer, f"its heads have an odd size, {layer.head_dim}")
        errors = []
        for kind in kinds:
            changes = self._changes(layer, kind, number, rows, values, rope)
            errors.append(float(_difference(changes.probed, told, self._groups[number].weights)))
        best = int(np.argmin(errors))
        self._check(layer, errors[best])
        return kinds[best]

    def _check_proofs(self) -> None:
        for layer in self.layers:
            error = self._proofs.pop(layer.layer, None)
            if error is not None:
                self._check(layer, float(error))

    def _check(self, layer: Attention, error: float) -> None:
        if not error <= self.tolerance:
            raise unhandled(layer, f"its output is not softmax(q k^T) v as computed here (off by {error:.2g})")


def _is_rope(rope: Any) -> bool:
    """Whether these are cos and sin [B or 1, T, width]."""
    if not (isinstance(rope, tuple | list) and len(rope) == 2):
        return False
    return all(isinstance(x, Tensor) and x.ndim == 3 and x.is_floating_point() for x in rope)


def _rows(x: Tensor, group: Group) -> Tensor:
    """[N, T, ..] of the documents of a group from `x` [tokens, ..]."""
    return x[group.tokens][None] if isinstance(group.tokens, slice) else x[group.tokens]


def _difference(probed: Tensor, told: Tensor, weights: Tensor | None) -> Tensor:
    """The largest relative difference of a document: `probed` [N, KV, r, P, T], `told` [N, T, H, P]."""
    ours = probed.flatten(1, 2).permute(0, 3, 1, 2)
    apart = ours - told
    if weights is not None:
        apart, told = apart * weights[:, :, None, None], told * weights[:, :, None, None]
    norms = (torch.linalg.vector_norm(x.flatten(1), dim=1) for x in (apart, told))
    off, whole = norms
    return (off / whole.clamp(min=1e-30)).max()


def unhandled(layer: Attention, why: str) -> SeaError:
    """That Q and K of this attention cannot be measured."""
    what = f"the queries and keys of {type(layer.module).__name__} ({layer.name}) cannot be measured: {why}"
    return SeaError(what, fix=FIX)
