"""FLOPs of training per token, for tokens/s to be read as model FLOP/s and as utilisation of the chip (MFU).

Convention (to be named wherever a figure is printed): PaLM, appendix B (arXiv 2204.02311), with causal attention: 6 for
each matrix weight that a token passes (head included, lookup of embeddings not) and 12 x query width for each key that
a query looks at, half its document on average; recomputation is never counted. Where parts are frozen only the work
that is left counts, so neuron-only training is held to its own 4N, as NeMo counts LoRA: 2 for the forward product, 2
for the gradient of its input (only above the lowest trained weight), 2 for each weight trained. For full training both
are the same number. Shapes and config.json are enough, so `--dry-run` uses the same arithmetic without torch.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

CONVENTION = "PaLM: 6 x matrix weights + causal attention, no recomputation; frozen parts without their gradients"

# Dense bf16 peaks in FLOP/s from the vendors' data sheets; the first that a device's name holds.
_PEAKS = {
    "H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12,
    "B200": 2250e12,
}  # fmt: skip

EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight", "tok_embeddings.weight")
HEADS = ("lm_head.weight", "embed_out.weight")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.")
# What is trained in a layer needs the gradients of everything after it; a name not listed stands at its begin.
_STAGES = (
    (re.compile(r"\b(q_proj|k_proj|v_proj|qkv_proj|query_key_value|Wqkv|c_attn)\."), 1),
    (re.compile(r"\b(q_norm|k_norm|q_layernorm|k_layernorm)\."), 2),
    (re.compile(r"\b(o_proj|out_proj|dense|attn\.c_proj)\."), 3),
    (re.compile(r"\b(post_attention_layernorm|pre_feedforward_layernorm|ln_2)\."), 4),
    (re.compile(r"(gate_proj|up_proj|gate_up_proj|fc1|c_fc|fc_in|dense_h_to_4h)\b"), 5),
    (re.compile(r"(down_proj|fc2|mlp\.c_proj|fc_out|dense_4h_to_h)\b"), 6),
    (re.compile(r"\bpost_feedforward_layernorm\."), 7),
)
_ATTENTION_STAGE = 2
Place = tuple[float, int]


@dataclass(frozen=True)
class TokenWork:
    """FLOPs for one token."""

    forward: float
    input_gradients: float
    weight_gradients: float

    @property
    def total(self) -> float:
        return self.forward + self.input_gradients + self.weight_gradients


def place_of(name: str) -> Place:
    """Where in the forward pass a parameter is used (a tied embedding: first): embeddings, layers, what follows."""
    if name.endswith(EMBEDDINGS):
        return (-1, 0)
    layer = layer_of(name)
    if layer is None:
        return (math.inf, 1 if name.endswith(HEADS) else 0)
    return (layer, next((stage for pattern, stage in _STAGES if pattern.search(name)), 0))


def layer_of(name: str) -> int | None:
    """The decoder layer that a parameter belongs to."""
    layer = _LAYER.search(name)
    return None if layer is None else int(layer[1])


def token_work(
    shapes: Mapping[str, Sequence[int]],
    config: Mapping[str, Any],
    trained: Mapping[str, int] | None = None,
    *,
    context: float = 0,
    target_share: float = 1.0,
) -> TokenWork:
    """The work of one token by parameter shapes and the text part of config.json.

    `trained`: how many numbers of each parameter are trained, absent names being frozen; None: all of all. `context`:
    mean length of the document that a token stands in (sum of squared lengths over sum of lengths). `target_share`:
    targets over tokens; the head is taken at targets only. Weights of experts count by the share that a token passes.
    """
    counts = {name: math.prod(shape) for name, shape in shapes.items()} if trained is None else dict(trained)
    lowest = min((place_of(name) for name, count in counts.items() if count), default=(math.inf, 2))
    experts = config.get("num_local_experts") or config.get("num_experts") or config.get("n_routed_experts")
    forward = of_inputs = of_weights = 0.0
    for name, shape, place in _matrices(shapes):
        passed = float(math.prod(shape))
        if len(shape) == 3 and experts:
            passed *= config.get("num_experts_per_tok", experts) / experts
        share = target_share if place == (math.inf, 1) else 1.0
        forward += 2 * share * passed
        # A tied embedding is the head here, above all else; its rows are trained by this product's gradient too.
        of_inputs += 2 * share * passed if lowest < place else 0.0
        of_weights += 2 * share * passed * counts.get(name, 0) / max(1, math.prod(shape))
    for layer, keys in enumerate(_keys(config, context)):
        product = 2 * _query_width(config) * keys
        forward += 2 * product
        of_inputs += 4 * product if lowest < (layer, _ATTENTION_STAGE) else 0.0
    return TokenWork(forward, of_inputs, of_weights)


def _matrices(shapes: Mapping[str, Sequence[int]]) -> Iterable[tuple[str, Sequence[int], Place]]:
    """(name, shape, place) of the matrices that a token is multiplied with; a tied embedding in its place as head."""
    has_head = any(name.endswith(HEADS) for name in shapes)
    for name, shape in shapes.items():
        if len(shape) < 2 or (name.endswith(EMBEDDINGS) and has_head):
            continue
        yield name, shape, (math.inf, 1) if name.endswith(EMBEDDINGS) else place_of(name)


def _query_width(config: Mapping[str, Any]) -> int:
    heads = config.get("num_attention_heads") or 0
    return heads * (config.get("head_dim") or config.get("hidden_size", 0) // max(heads, 1))


def _keys(config: Mapping[str, Any], context: float) -> list[float]:
    """The mean number of keys that a query of each layer looks at, in documents of `context` tokens."""
    window, kinds = config.get("sliding_window"), config.get("layer_types")
    found = []
    for layer in range(config.get("num_hidden_layers") or 0):
        slides = kinds[layer] == "sliding_attention" if kinds else config.get("use_sliding_window", True)
        near = min(context, window) if window and slides else context
        found.append(near - near * near / (2 * context) if context else 0.0)
    return found


def peak_flops(device: torch.device) -> float | None:
    """The chip's dense bf16 peak, or None where it is not known (CPU)."""
    if device.type != "cuda":
        return None
    import torch

    name = torch.cuda.get_device_name(device)
    return next((peak for key, peak in _PEAKS.items() if key in name), None)


def flops_per_token(model: PreTrainedModel, context: float = 0) -> float:
    """Forward and backward of full training, for one token in documents of `context` tokens on average."""
    return token_work(_shapes(model), _config(model), context=context).total


def work_per_token(
    model: PreTrainedModel,
    parts: Iterable[tuple[str, Any]] | None = None,
    *,
    context: float = 0,
    target_share: float = 1.0,
) -> TokenWork:
    """What training `parts` costs for one token: (name, Parameter or Selection) pairs as the optimiser has them.

    None: the parameters that require a gradient. `context`, `target_share`: see `token_work`.
    """
    if parts is None:
        parts = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    trained: Counter[str] = Counter()
    for name, part in parts:
        trained[name] += _num_trained(part)
    return token_work(_shapes(model), _config(model), trained, context=context, target_share=target_share)


def mean_context(lengths: Iterable[int]) -> float:
    """The mean length of the document that a token stands in: sum of squares over sum; 0 for no documents."""
    total = squares = 0
    for length in lengths:
        total += int(length)
        squares += int(length) ** 2
    return squares / total if total else 0.0


def _num_trained(part: Any) -> int:
    if hasattr(part, "param"):  # a Selection: so many rows or columns of its weight
        return int(part.index.numel() * part.param.numel() // part.param.shape[part.dim])
    return int(part.numel())


def _shapes(model: PreTrainedModel) -> dict[str, Sequence[int]]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _config(model: PreTrainedModel) -> dict[str, Any]:
    config: Any = model.config.get_text_config(decoder=True)
    return config.to_dict()
