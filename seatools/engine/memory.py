"""How much memory a training step takes, part by part, by arithmetic.

Static: weights, gradients, Adam's moments and fp32 masters as `optimise.py` keeps them. Activations: what autograd
keeps of a layer of the Llama layout as transformers runs it; measured with saved_tensors_hooks it is these numbers
within 1 % for Llama, Qwen 2 and 3 (Gemma 3: 5 %), in fp32 and bf16, trained whole or in part. A frozen weight does not
keep the input of its product, and nothing is kept below the lowest trained layer; torch.compile keeps less. The head is
one chunk of logits at a time (`loss.py`). Measured peaks of a 40M model on a CPU are 0.93 to 1.04 of the sum (0.90 with
selective recomputation), where malloc gives memory back at once (MALLOC_MMAP_THRESHOLD_=262144); with glibc's own
settings the heap is fragmented and peaks are 1.06 to 1.6 of it, most with recomputation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from seatools.engine.flops import EMBEDDINGS, HEADS, layer_of, place_of
from seatools.engine.planned_model import Part, Shapes
from seatools.streams.errors import UsageError

RECOMPUTE = ("none", "selective", "full")
# As in engine/loss.py, which imports torch.
CHUNK_ELEMENTS_CPU, CHUNK_TOKENS_CPU, CHUNK_ELEMENTS_GPU = 1 << 23, 128, 1 << 28
KEPT_ELEMENTS_CPU, KEPT_ELEMENTS_GPU = 1 << 25, 1 << 28
PROGRAM = 450_000_000
"""Python, torch and transformers in memory (measured: 0.44 GB resident), or the context that CUDA keeps."""


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """What decides memory besides the model and what is trained of it."""

    width: int
    """Bytes of a weight: 4 (fp32) or 2 (bf16)."""
    rows: int
    """Rows of a micro-batch."""
    seq_len: int
    recompute: str = "none"
    attention: str = "sdpa"
    """As load.py calls it: sdpa with its mask, eager with its scores; all else keeps documents apart without either."""
    state_width: int = 4
    """Bytes of each moment."""
    masters: bool = True
    """fp32 masters for bf16 weights."""
    muon: bool = False
    """One moment instead of two for matrices in layers."""
    ranks: int = 1
    sharded: bool = False
    """Weights, gradients and moments are cut over the ranks (FSDP2), in fp32."""
    on_cuda: bool = False
    of_answers: bool = False
    """The loss is of whole answers, whose first probabilities are kept for the backward pass."""

    def __post_init__(self) -> None:
        if self.recompute not in RECOMPUTE:
            raise UsageError(f"unknown --recompute {self.recompute!r}", fix="none, selective or full")


@dataclass(frozen=True)
class Memory:
    """Bytes on each device."""

    weights: int
    gradients: int
    moments: int
    masters: int
    activations: int
    head: int
    gathered: int
    program: int

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def plan_memory(shapes: Shapes, config: Mapping[str, Any], parts: Mapping[str, Part], options: MemoryOptions) -> Memory:
    """Memory of a step of training `parts` of a model with these shapes."""
    count = sum(map(math.prod, shapes.values()))
    weights = gradients = moments = masters = 0
    for name, part in parts.items():
        muon = options.muon and part.dim is None and len(shapes[name]) == 2 and layer_of(name) is not None
        moments += part.count * options.state_width * (1 if muon else 2)
        own = part.dim is not None or (options.width < 4 and options.masters and not options.sharded)
        masters += 4 * part.count if own else 0
        gradients += part.count * (4 if own or options.sharded else options.width)
    weights = count * (4 if options.sharded else options.width)
    gathered = 0
    if options.sharded:
        weights, gradients, moments, masters = (-(-x // options.ranks) for x in (weights, gradients, moments, masters))
        gathered = _gathered(shapes, options.width)
    elif options.width < 4 and options.masters:  # a gradient in its own format, until a hook has added it up
        gathered = options.width * max((part.count for part in parts.values() if part.dim is None), default=0)
    tokens = options.rows * options.seq_len
    return Memory(
        weights=weights, gradients=gradients, moments=moments, masters=masters,
        activations=int(tokens * activation_bytes(shapes, config, parts, options)),
        head=_head_bytes(shapes, config, parts, options), gathered=gathered, program=PROGRAM,
    )  # fmt: skip


def activation_bytes(
    shapes: Shapes, config: Mapping[str, Any], parts: Mapping[str, Part], options: MemoryOptions
) -> float:
    """Bytes that a token leaves behind for the backward pass, all layers and the ends of the model together."""
    lowest = min(map(place_of, parts), default=(math.inf, 2))
    layers = sorted({layer for name in shapes if (layer := layer_of(name)) is not None})
    kept = [_layer_bytes(layer, shapes, config, parts, options) for layer in layers if lowest[0] <= layer]
    width, (hidden, _, head) = options.width, _sizes(config)
    if options.recompute == "full" and kept:  # the inputs of all layers, and one layer made again
        inside = len(kept) * width * hidden + max(kept)
    elif options.recompute == "selective" and kept:
        inside = sum(_selective_bytes(config, width, layer_bytes) for layer_bytes in kept) + max(kept)
    else:
        inside = sum(kept)
    norm = next((name for name in shapes if layer_of(name) is None and name.endswith("norm.weight")), None)
    below = lowest < (math.inf, 1)
    ends = (4 * hidden + 4 if below else 0) + (width * hidden if norm in parts else 0)
    return inside + ends + (2 * head * width if kept else 0) + 8


def _sizes(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """(hidden size, heads, head size)."""
    hidden = int(config.get("hidden_size") or config.get("n_embd") or 0)
    heads = int(config.get("num_attention_heads") or config.get("n_head") or 1)
    return hidden, heads, int(config.get("head_dim") or hidden // heads)


def _layer_bytes(
    layer: int, shapes: Shapes, config: Mapping[str, Any], parts: Mapping[str, Part], options: MemoryOptions
) -> float:
    """Bytes a token of one layer: norms in fp32, attention, a gated FFN."""
    b, t = options.width, options.seq_len
    own = {name.split(f".{layer}.", 1)[1]: name for name in shapes if layer_of(name) == layer}
    hidden, heads, head = _sizes(config)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    queries, keys = heads * head, kv_heads * head
    ffn = int(config.get("intermediate_size") or 4 * hidden)

    def reads(*projections: str) -> bool:  # whether a product that keeps its whole input is trained
        return any(
            any(p in short for p in projections) and (part := parts.get(name)) is not None and part.dim != 1
            for short, name in own.items()
        )

    pre_ffn = "pre_feedforward_layernorm" if "pre_feedforward_layernorm.weight" in own else "post_attention_layernorm"
    total = 0.0
    for short, name in own.items():
        if not short.endswith("norm.weight"):
            continue
        inner = ("q_norm" in short, "k_norm" in short)
        width = queries if inner[0] else keys if inner[1] else hidden
        scales = heads if inner[0] else kv_heads if inner[1] else 1
        # Gemma scales by 1 + weight in fp32
        normed = 4 if str(config.get("model_type", "")).startswith("gemma") else b
        total += 4 * width + 4 * scales + (normed * width if name in parts else 0)
        if "input_layernorm" in short:
            total += b * hidden if reads("q_proj", "k_proj", "v_proj", "qkv_proj") else 0
        elif pre_ffn in short:
            total += b * hidden if reads("gate_proj", "up_proj", "gate_up_proj") else 0
    capped = bool(config.get("attn_logit_softcapping"))
    eager = options.attention == "eager" or (options.attention == "auto" and capped)
    seen = queries if eager or options.attention == "sdpa" else keys  # these repeat keys and values for each query
    total += b * (2 * queries + 2 * seen)
    if eager:
        total += heads * t * (4 + (b if b < 4 or capped else 0))
    else:
        total += 4 * heads  # log-sum-exp
        total += b * t if options.attention == "sdpa" else 0  # the mask, once a layer, in the format of the weights
    total += 3 * b * ffn
    down = next((parts.get(name) for short, name in own.items() if "down_proj.weight" in short), None)
    if down is not None:
        total += b * (ffn if down.dim != 1 else down.count / max(hidden, 1))
    return total


def _selective_bytes(config: Mapping[str, Any], width: int, layer_bytes: float) -> float:
    """What `recompute.py` keeps of a layer: its input, the attention, and every second product that does not shrink
    its input (q and gate; v too where there are as many keys as queries)."""
    hidden, heads, head = _sizes(config)
    queries = heads * head
    ffn = int(config.get("intermediate_size") or 4 * hidden)
    values = queries if int(config.get("num_key_value_heads") or heads) == heads else 0
    return min(layer_bytes, width * (hidden + 2 * queries + values + ffn) + 4 * heads)


def _head_bytes(
    shapes: Shapes, config: Mapping[str, Any], parts: Mapping[str, Part], options: MemoryOptions
) -> int:  # fmt: skip
    """The loss at its peak: hidden states of the targets, their gradients, a chunk of logits and the probabilities that
    are kept, the head's gradient."""
    name = next((name for name in shapes if name.endswith(HEADS)), None)
    name = name or next((name for name in shapes if name.endswith(EMBEDDINGS)), None)
    if name is None:
        return 0
    vocabulary, hidden = shapes[name][0], math.prod(shapes[name][1:])
    tokens = options.rows * options.seq_len
    most = max(CHUNK_TOKENS_CPU, CHUNK_ELEMENTS_CPU // vocabulary)
    if options.on_cuda:
        most = max(1, CHUNK_ELEMENTS_GPU // vocabulary)
    chunk = min(tokens, most) * vocabulary
    total = 2 * options.width * tokens * hidden + chunk * (4 if options.width == 4 else 4 + options.width)
    if options.of_answers and not config.get("final_logit_softcapping"):
        kept = (KEPT_ELEMENTS_GPU if options.on_cuda else KEPT_ELEMENTS_CPU) // vocabulary
        total += 4 * vocabulary * min(kept, max(0, tokens - most))
    if options.width < 4 and not options.on_cuda:  # a CPU multiplies the widened weight
        total += 4 * vocabulary * hidden
    part = parts.get(name)
    in_place = options.width == 4 and not options.sharded  # engine/shard.py, `add_in_place`
    if part is not None and (part.dim is not None or not in_place):
        total += 4 * part.count  # beside the gradient that it is added to
    return total


def _gathered(shapes: Shapes, width: int) -> int:
    """What FSDP2 puts together while it is used: the root, two layers (one is fetched ahead) and their gradients."""
    layers: dict[int, int] = {}
    root = 0
    for name, shape in shapes.items():
        layer = layer_of(name)
        if layer is None:
            root += math.prod(shape)
        else:
            layers[layer] = layers.get(layer, 0) + math.prod(shape)
    return width * (2 * root + 3 * max(layers.values(), default=0))
