"""What was found, for people and for programs: one row a language.

From places and chosen neurons, without the model: those of a selection, or those of a neuron file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from seatools.engine.neuron_layout import Place, parse_layout
from seatools.engine.neurons import NeuronSet
from seatools.lsn_detect.neuron_weights import Chosen, Key, as_chosen
from seatools.lsn_detect.random_control import FFN_PARTS
from seatools.streams.errors import SeaError

_SEVERAL = 3
_BARS, _MOST_BARS = " ▁▂▃▄▅▆▇█", 12


def report_rows(
    places: Sequence[Place],
    sets: Mapping[str, Mapping[Key, Chosen]],
    *,
    method: str,
    num_parameters: int,
    reads: Mapping[str, Mapping[str, int]] | None = None,
) -> list[dict[str, Any]]:
    """One record a language: how many neurons, where, what share of the model, what it shares with other languages.

    `by_matrix` and `per_layer_by_matrix`: by part, those with any neuron. `ffn_share` is of all FFN neurons (shared
    experts included; None without FFN places), `parameter_share` of all parameters. `overlap` is the Jaccard index,
    `covers` the share of the other's neurons that are this language's too (PLND, eq. 11); both 0 for empty sets.
    `held_by`: how many of its neurons are of one language, of two, of three or more. `reads`: what was read of each
    language (tokens, documents), added as it is.
    """
    order = [place.key for place in places]
    num_layers = 1 + max(layer for layer, _ in order)
    parts = list(dict.fromkeys(part for _, part in order))
    total_ffn = sum(place.size for place in places if place.part in FFN_PARTS)
    rows = {lang: np.concatenate([_mask(chosen, place) for place in places]) for lang, chosen in sets.items()}
    num_langs = np.sum(list(rows.values()), axis=0)
    report = []
    for lang, mine in rows.items():
        counts = {place.key: int(_mask(sets[lang], place).sum()) for place in places}
        layers = {part: [counts.get((layer, part), 0) for layer in range(num_layers)] for part in parts}
        layers = {part: row for part, row in layers.items() if any(row)}
        by_matrix = {part: sum(row) for part, row in layers.items()}
        parameters = sum(counts[place.key] * place.parameters for place in places)
        others = {other: theirs for other, theirs in rows.items() if other != lang}
        shared = {other: int((mine & theirs).sum()) for other, theirs in others.items()}
        held = num_langs[mine].clip(max=_SEVERAL)
        report.append(
            {
                "lang": lang, "method": method, "num_neurons": int(mine.sum()), "by_matrix": by_matrix,
                "ffn_share": sum(by_matrix.get(part, 0) for part in FFN_PARTS) / total_ffn if total_ffn else None,
                "parameter_share": parameters / num_parameters,
                "per_layer": [sum(row[layer] for row in layers.values()) for layer in range(num_layers)],
                "per_layer_by_matrix": layers,
                "overlap": {other: _ratio(shared[other], (mine | theirs).sum()) for other, theirs in others.items()},
                "covers": {other: _ratio(shared[other], theirs.sum()) for other, theirs in others.items()},
                "held_by": {name: int((held == number).sum()) for number, name in ((1, "1"), (2, "2"), (3, "3+"))},
            }
            | dict((reads or {}).get(lang, {}))
        )  # fmt: skip
    return report


def file_rows(sets: NeuronSet, metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """`report_rows` of a neuron file as `load_neurons` gives it. SeaError for one without the layout of its model."""
    if "layout" not in metadata:
        raise SeaError("the neuron file does not hold its model's layout", fix="make it again with `sea lsn-detect`")
    places = parse_layout(metadata["layout"], "neurons")
    chosen = {lang: as_chosen(places, weights)[0] for lang, weights in sets.items()}
    return report_rows(places, chosen, method=metadata["method"], num_parameters=int(metadata["num_parameters"]))


def _mask(chosen: Mapping[Key, Chosen], place: Place) -> np.ndarray:
    return chosen[place.key].mask if place.key in chosen else np.zeros(place.size, dtype=bool)


def _ratio(part: int, whole: Any) -> float:
    return round(part / int(whole), 6) if whole else 0.0


def print_table(rows: list[dict[str, Any]], stream: IO[str]) -> None:
    """The rows for a terminal: counts and shares, neurons by part and by layer, and the most similar language.

    `own` are neurons of this language alone; a bar of `by layer` is the mean of some layers if there are more than 12.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from seatools.streams.tables import show_table

    num_layers = len(rows[0]["per_layer"])
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    numbers = ("neurons", "own", "FFN %", "param %")
    for column in ("lang", *numbers, "by part", f"layers 0-{num_layers - 1}", "overlap"):
        narrow = _MOST_BARS if column.startswith("layers") else None
        table.add_column(column, justify="right" if column in numbers else "left", min_width=narrow)
    for row in rows:
        table.add_row(
            row["lang"], f"{row['num_neurons']:,}", f"{row['held_by']['1']:,}", _percent(row["ffn_share"], 2),
            _percent(row["parameter_share"], 3), " ".join(f"{k} {v}" for k, v in row["by_matrix"].items()),
            _bars(row["per_layer"]), _nearest(row["overlap"]),
        )  # fmt: skip
    show_table(table, stream, title=f"language-specific neurons, {rows[0]['method']}")


def _bars(per_layer: Sequence[int]) -> str:
    means = [float(np.mean(layers)) for layers in np.array_split(per_layer, min(_MOST_BARS, len(per_layer)))]
    most = max(means) or 1.0
    return "".join(_BARS[round(mean / most * (len(_BARS) - 1))] for mean in means)


def _nearest(overlap: Mapping[str, float]) -> str:
    nearest = max(overlap, key=lambda other: overlap[other], default=None)
    return "" if nearest is None else f"{nearest} {overlap[nearest]:.2f}"


def _percent(share: float | None, digits: int) -> str:
    return "" if share is None else f"{100 * share:.{digits}f}"
