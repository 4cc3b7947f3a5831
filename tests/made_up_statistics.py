"""Statistics of made-up documents, summed by the definitions of the arrays, one document after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seatools.engine.neuron_layout import Place, WeightView
from seatools.lsn_detect.table import Key, LanguageStats, StatsTable

TOP_K, THRESHOLDS = (0.1, 0.25), (0.5, 2.0)


class Document(NamedTuple):
    """One context: its number in the corpus, and of each place what every neuron did in it, [n]."""

    number: int
    tokens: int
    importance: dict[Key, np.ndarray]
    positive: dict[Key, np.ndarray]
    taylor: dict[Key, np.ndarray]


def llama_places(
    layers: int = 2, ffn: int = 20, hidden: int = 24, kv: int = 8, parts: str = "fqkv"
) -> tuple[Place, ...]:
    """Places of the Llama layout, with real parameter counts (no biases)."""
    places = []
    for layer in range(layers):
        mlp, attention = f"model.layers.{layer}.mlp", f"model.layers.{layer}.self_attn"
        three = tuple(WeightView(f"{mlp}.{name}_proj", ffn, hidden) for name in ("gate", "up", "down"))
        made = {"f": Place(layer, "ffn", ffn, three)}
        for part, size in (("q", hidden), ("k", kv), ("v", kv), ("o", hidden)):
            made[part] = Place(layer, part, size, (WeightView(f"{attention}.{part}_proj", size, hidden),))
        places += [made[part] for part in parts]
    return tuple(places)


def fused_places(layers: int = 2, ffn: int = 20, hidden: int = 24, kv: int = 8) -> tuple[Place, ...]:
    """The same in the layout of Phi-3: gate and up in one weight, q, k and v in another."""
    places = []
    for layer in range(layers):
        gate_up, down = f"model.layers.{layer}.mlp.gate_up_proj", f"model.layers.{layer}.mlp.down_proj"
        views = (
            WeightView(gate_up, 2 * ffn, hidden, offset=0),
            WeightView(gate_up, 2 * ffn, hidden, offset=ffn),
            WeightView(down, ffn, hidden),
        )
        places.append(Place(layer, "ffn", ffn, views))
        qkv, at = f"model.layers.{layer}.self_attn.qkv_proj", 0
        for part, size in (("q", hidden), ("k", kv), ("v", kv)):
            places.append(Place(layer, part, size, (WeightView(qkv, hidden + 2 * kv, hidden, offset=at),)))
            at += size
    return tuple(places)


def documents(places: Sequence[Place], number: int, seed: int, ties: bool = False) -> list[Document]:
    """Of one language: each neuron about as important in one as in the next.

    With `ties` importances are small whole numbers, many of them equal, some 0.
    """
    rng = np.random.default_rng(seed)
    made = []
    usual = {place.key: rng.gamma(0.7, 1.5, place.size) for place in places}
    for i in range(number):
        tokens = int(rng.integers(50, 90))
        by_place = [{key: mean * rng.lognormal(0, 0.4, len(mean)) for key, mean in usual.items()} for _ in range(2)]
        if ties:
            by_place[0] = {key: np.round(value) for key, value in by_place[0].items()}
        positive = {place.key: rng.binomial(tokens, rng.beta(0.4, 1.5, place.size)) for place in places}
        made.append(Document(i, tokens, by_place[0], positive, by_place[1]))
    return made


def language(
    docs: Sequence[Document], places: Sequence[Place], *, corpora: str = "digest", shard: str | None = None
) -> LanguageStats:
    """What a pass over `docs` gives."""
    stats = LanguageStats(np.zeros(2, np.int64), np.zeros(2, np.int64), {}, corpora, shard, ("text.jsonl",))
    for doc in docs:
        stats.tokens[doc.number % 2] += doc.tokens
        stats.docs[doc.number % 2] += 1
    for place in places:
        n = place.size
        sums = {name: np.zeros((2, n)) for name in ("importance", "importance_squares", "taylor")}
        least, worst = np.full((2, n), np.inf), np.zeros((2, n), np.int32)
        selected, exceeding = np.zeros((len(TOP_K), 2, n), np.int32), np.zeros((len(THRESHOLDS), 2, n), np.int32)
        positive = np.zeros((2, n), np.int64)
        for doc in docs:
            half, imp = doc.number % 2, doc.importance[place.key]
            sums["importance"][half] += imp
            sums["importance_squares"][half] += imp**2
            sums["taylor"][half] += doc.taylor[place.key]
            least[half] = np.minimum(least[half], imp)
            rank = np.array([n + 1 if mine == 0 else 1 + int((imp > mine).sum()) for mine in imp])
            worst[half] = np.maximum(worst[half], rank)
            for at, share in enumerate(TOP_K):
                selected[at, half] += (rank <= max(1, round(share * n))) & (imp > 0)
            for at, eps in enumerate(THRESHOLDS):
                exceeding[at, half] += imp >= eps
            positive[half] += doc.positive[place.key]
        stats.values[place.key] = {
            **sums, "least": least, "worst_rank": worst, "selected": selected, "exceeding": exceeding,
        }  # fmt: skip
        if place.part in ("ffn", "shared"):
            stats.values[place.key]["positive"] = positive
    return stats


def metadata(**changes: Any) -> dict[str, Any]:
    options = {"seq_len": 128, "min_doc_tokens": 8, "top_k": list(TOP_K), "thresholds": list(THRESHOLDS),
               "qk": "closed", "exact_norm": False, "taylor": True, "dtype": "float64"}  # fmt: skip
    known = {"model_digest": "m" * 64, "tokenizer_digest": "t" * 64, "architecture": {"model_type": "llama"},
             "num_parameters": 100_000, "options": options}  # fmt: skip
    return known | changes


def table(langs: str = "th en lo", number: int = 30, places: Sequence[Place] | None = None, **how: Any) -> StatsTable:
    """`number` random documents of each language."""
    places = llama_places() if places is None else places
    made = {lang: language(documents(places, number, seed, **how), places) for seed, lang in enumerate(langs.split())}
    return StatsTable(made, tuple(places), metadata())
