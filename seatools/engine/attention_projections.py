"""Queries, keys, values and output of a layer's attention, also out of one fused projection.

Rows are counted as heads * head_dim however they are stored: [q | k | v] (Phi-3, GPT-2, multi-query Falcon), head by
head (GPT-NeoX, BLOOM), or key head by key head with its queries before it (Falcon 40B). What `o` takes is the
attention's output; nothing but the softmax may stand between it and the values. Detection knows names, shapes and the
config. That maps are computed as scaling, window and norms here say is for the caller to prove.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from seatools.engine.feature_axes import in_features, is_projection, out_features, row_parameters, weight_matrix
from seatools.engine.neuron_layout import Place, WeightView

_FUSED = ("qkv_proj", "query_key_value", "c_attn", "Wqkv")
_OUTPUT = ("o_proj", "out_proj", "dense", "c_proj")
_NORMS = (("q_norm", "k_norm"), ("q_layernorm", "k_layernorm"))


@dataclass(frozen=True)
class Projection:
    """`take` of the output of `module` [B, T, out] is [B, T, heads * head_dim]."""

    module: nn.Module
    take: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Attention:
    """The attention of a decoder layer; `scaling` multiplies q.k before the softmax, and before the softcap.

    `q_norm`/`k_norm` (QK-norm models, else None) act on q and k before RoPE. `window`: how many tokens a token sees,
    itself among them, None: all before it.
    """

    layer: int
    name: str
    module: nn.Module
    q: Projection
    k: Projection
    v: Projection
    o: nn.Module
    num_heads: int
    num_kv_heads: int
    head_dim: int
    scaling: float
    q_norm: nn.Module | None
    k_norm: nn.Module | None
    window: int | None
    softcap: float | None
    places: Mapping[str, Place]
    post_norm: nn.Module | None = None
    """The norm on the block's output, before it is added to the residual (Gemma 2, OLMo 2 ...)."""

    def o_weight(self) -> Tensor:
        """The weight out of the heads, [D, num_heads * head_dim]."""
        return weight_matrix(self.o)


def find_attention(index: int, base: str, layer: nn.Module, config: Any) -> Attention | str:
    """The attention of decoder layer `index`, called `base`, or a sentence that says why it is not handled."""
    owners = []
    for name, module in layer.named_modules():
        children = {child for child, value in module.named_children() if is_projection(value)}
        fused = next((child for child in _FUSED if child in children), None)
        output = next((child for child in _OUTPUT if child in children), None)
        if output is not None and (fused is not None or {"q_proj", "k_proj", "v_proj"} <= children):
            owners.append((f"{base}.{name}", module, fused, output))
    if len(owners) != 1:
        kinds = ", ".join(f"{type(module).__name__} ({base}.{name})" for name, module in layer.named_children())
        has = f"{len(owners)} attentions" if owners else "no attention with q, k, v and o projections"
        return f"{type(layer).__name__} ({base}) has {has} that are handled, of {kinds}"
    name, module, fused, output = owners[0]
    o = getattr(module, output)
    head_dim = _number(module, config, "head_dim", "head_size")
    if head_dim is None:
        head_dim = config.hidden_size // config.num_attention_heads
    if in_features(o) % head_dim:
        return f"{type(module).__name__} ({name}): {in_features(o)} inputs of {output} are not heads of {head_dim}"
    heads = in_features(o) // head_dim
    why = _unusual(module)
    if why is not None:
        return f"{type(module).__name__} ({name}) {why}"
    if fused is None:
        linears = {part: getattr(module, f"{part}_proj") for part in "qkv"}
        kv_heads = out_features(linears["k"]) // head_dim
        sizes = [out_features(linears[part]) for part in "qkv"]
        if sizes != [heads * head_dim, kv_heads * head_dim, kv_heads * head_dim] or not kv_heads or heads % kv_heads:
            spelled = f"q {sizes[0]}, k {sizes[1]}, v {sizes[2]}, o {in_features(o)}"
            return f"{type(module).__name__} ({name}): {spelled} do not fit heads of {head_dim}"
        projections = {part: Projection(linear, _whole) for part, linear in linears.items()}
        views = {
            part: WeightView(f"{name}.{part}_proj", out_features(linear), row_parameters(linear))
            for part, linear in linears.items()
        }
    else:
        linear = getattr(module, fused)
        split = _split(fused, out_features(linear), heads, head_dim, module, config)
        if isinstance(split, str):
            return f"{type(module).__name__} ({name}): {fused} {split}"
        kv_heads = split.pop("kv_heads")
        size, rows = out_features(linear), row_parameters(linear)
        views = {part: WeightView(f"{name}.{fused}", size, rows, *split[part]) for part in "qkv"}
        counts = {"q": heads * head_dim, "k": kv_heads * head_dim, "v": kv_heads * head_dim}
        projections = {part: Projection(linear, _taker(views[part], counts[part])) for part in "qkv"}
    counts = {"q": heads * head_dim, "k": kv_heads * head_dim, "v": kv_heads * head_dim, "o": heads * head_dim}
    views["o"] = WeightView(f"{name}.{output}", heads * head_dim, out_features(o))
    places = {part: Place(index, part, counts[part], (views[part],)) for part in "qkvo"}
    q_norm, k_norm = _qk_norms(module)
    return Attention(
        index, name, module, projections["q"], projections["k"], projections["v"], o, heads, kv_heads, head_dim,
        _scaling(module, head_dim), q_norm, k_norm, _window(module, config), _softcap(module, config), places,
        _post_norm(layer),
    )  # fmt: skip


def _post_norm(layer: nn.Module) -> nn.Module | None:
    """The norm on what the attention gives. In layers without one behind the FFN too, this name is that before it."""
    sandwich = getattr(layer, "post_feedforward_layernorm", None) is not None
    return getattr(layer, "post_attention_layernorm" if sandwich else "post_self_attn_layernorm", None)


def _split(fused: str, size: int, heads: int, d: int, module: nn.Module, config: Any) -> dict[str, Any] | str:
    """Offset, block and stride of q, k and v in a fused projection of `size` rows, and "kv_heads"; or why not."""
    rest = size - heads * d
    kv_heads = rest // (2 * d)
    if rest <= 0 or rest != 2 * kv_heads * d or heads % kv_heads:
        return f"has {size} rows, which are not {heads} queries with keys and values of {d}"
    multi_query = bool(getattr(module, "multi_query", False))
    if getattr(module, "new_decoder_architecture", False):  # Falcon 40B: [queries of a key head, its key, its value]
        group = heads // kv_heads
        stride = (group + 2) * d
        q, k, v = (0, group * d, stride), (group * d, d, stride), ((group + 1) * d, d, stride)
    elif (fused == "query_key_value" or type(module).__name__.startswith("GPTBigCode")) and not multi_query:
        if kv_heads != heads:
            return f"has {size} rows, and the order of its {heads} queries and {kv_heads} keys is not known"
        q, k, v = (0, d, 3 * d), (d, d, 3 * d), (2 * d, d, 3 * d)
    else:
        q, k, v = (0, 0, 0), (heads * d, 0, 0), ((heads + kv_heads) * d, 0, 0)
    return {"q": q, "k": k, "v": v, "kv_heads": kv_heads}


def _taker(view: WeightView, count: int) -> Callable[[Tensor], Tensor]:
    """What `Projection.take` does for a view of a fused output: slices, copied only where they lie apart."""
    offset, block, stride = view.offset, view.block, view.stride
    if block == 0:
        return lambda output: output[..., offset : offset + count]

    def take(output: Tensor) -> Tensor:
        return output.unflatten(-1, (-1, stride))[..., offset : offset + block].flatten(-2)

    return take


def _whole(output: Tensor) -> Tensor:
    return output


def _unusual(module: nn.Module) -> str | None:
    """What stands between values and output in this attention that V and O could not be told through."""
    if type(module).__name__.startswith("CodeGen"):
        return "keeps its queries, values and keys in four parts that were on four devices"
    if getattr(module, "slow_but_exact", False) and getattr(module, "pretraining_tp", 1) > 1:
        return "multiplies in slices (slow_but_exact), which no hook sees"
    known = {name for pair in _NORMS for name in pair}
    norms = [name for name, _ in module.named_children() if "norm" in name.lower() and name not in known]
    if norms:
        return f"norms more than its queries and keys ({norms[0]})"
    return None


def _qk_norms(module: nn.Module) -> tuple[nn.Module | None, nn.Module | None]:
    for names in _NORMS:
        pair = [getattr(module, name, None) for name in names]
        if any(isinstance(norm, nn.Module) for norm in pair):
            q, k = (norm if isinstance(norm, nn.Module) else None for norm in pair)
            return q, k
    return None, None


def _scaling(module: Any, head_dim: int) -> float:
    for name in ("scaling", "inv_norm_factor", "softmax_scale"):
        value = getattr(module, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    if type(module).__name__.startswith("GPTNeoSelf"):  # the only one that does not scale
        return 1.0
    return float(head_dim**-0.5)


def _window(module: nn.Module, config: Any) -> int | None:
    """The sliding window of this layer: said by the module, or by the config for all layers (Mistral, Phi-3)."""
    if hasattr(module, "sliding_window"):
        window: Any = module.sliding_window
    elif getattr(module, "attention_type", None) == "local":  # GPT-Neo
        window = config.window_size
    else:
        window = None if getattr(config, "layer_types", None) else getattr(config, "sliding_window", None)
    return None if window is None else int(window)


def _softcap(module: nn.Module, config: Any) -> float | None:
    cap = getattr(module, "attn_logit_softcapping", getattr(config, "attn_logit_softcapping", None))
    return None if cap is None else float(cap)


def _number(module: nn.Module, config: Any, *names: str) -> int | None:
    for holder in (module, config):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None
