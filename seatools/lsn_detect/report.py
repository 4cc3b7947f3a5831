"""What was found, for people and for programs: one row a language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from seatools.engine.neurons import COLUMN_PROJECTIONS, NeuronSet, ffn_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PLACE = re.compile(r"layers\.(\d+)\.(?:.+\.)?(\w+)_proj$")
# A gate row, an up row and a down column of one index are one neuron.
_MATRIX = {"gate": "ffn", "up": "ffn", "down": "ffn", "v": "v", "q": "q", "k": "k", "o": "o"}
_ORDER = ("ffn", "v", "q", "k", "o")


def report_rows(
    model: PreTrainedModel, sets: NeuronSet, *, method: str, reads: Mapping[str, Mapping[str, int]]
) -> list[dict[str, Any]]:
    """One record a language: how many neurons, where, what share of the model, the overlap with the other languages.

    `reads`: what was read of each language (tokens, documents), added as it is. `ffn_share` is of all FFN neurons,
    `parameter_share` of all parameters; `overlap` is the Jaccard index, 0 for two empty sets.
    """
    total_ffn = sum(layer.down.in_features for layer in ffn_layers(model))
    total = sum(parameter.numel() for parameter in model.parameters())
    num_layers = len(ffn_layers(model))
    members = {lang: _members(weights) for lang, weights in sets.items()}
    rows = []
    for lang, weights in sets.items():
        by_matrix = {matrix: sum(m == matrix for _, m, _ in members[lang]) for matrix in _ORDER}
        by_matrix = {matrix: number for matrix, number in by_matrix.items() if number}
        per_layer = [sum(at == layer for at, _, _ in members[lang]) for layer in range(num_layers)]
        parameters = sum(_numel(model, name) * len(neurons.indices) for name, neurons in weights.items())
        overlap = {
            other: round(_jaccard(members[lang], theirs), 6) for other, theirs in members.items() if other != lang
        }
        rows.append(
            {"lang": lang, "method": method, "num_neurons": len(members[lang]), "by_matrix": by_matrix,
             "ffn_share": by_matrix.get("ffn", 0) / total_ffn, "parameter_share": parameters / total,
             "per_layer": per_layer, "overlap": overlap} | dict(reads.get(lang, {}))
        )  # fmt: skip
    return rows


def _members(weights: Mapping[str, Any]) -> set[tuple[int, str, int]]:
    """(layer, matrix, index) of every neuron."""
    found = set()
    for name, neurons in weights.items():
        match = _PLACE.search(name)
        assert match is not None, name  # load_neurons and as_weights give no others
        found |= {(int(match[1]), _MATRIX[match[2]], int(i)) for i in neurons.indices}
    return found


def _numel(model: PreTrainedModel, name: str) -> int:
    """Parameters of one neuron of this weight."""
    linear: Any = model.get_submodule(name)
    if name.endswith(COLUMN_PROJECTIONS):
        return linear.out_features
    return linear.in_features + (linear.bias is not None)


def _jaccard(first: set[Any], second: set[Any]) -> float:
    return round(len(first & second) / len(first | second), 6) if first or second else 0.0


def print_table(rows: list[dict[str, Any]], stream: IO[str]) -> None:
    """The rows for a terminal: counts and shares, neurons by layer, overlap."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"language-specific neurons, {rows[0]['method']}")
    for column in ("lang", "neurons", "FFN %", "parameters %", "by matrix", "by layer", "overlap"):
        table.add_column(column, justify="right" if column in ("neurons", "FFN %", "parameters %") else "left")
    for row in rows:
        table.add_row(
            row["lang"], f"{row['num_neurons']:,}", f"{100 * row['ffn_share']:.2f}",
            f"{100 * row['parameter_share']:.3f}", " ".join(f"{k} {v}" for k, v in row["by_matrix"].items()),
            " ".join(map(str, row["per_layer"])), " ".join(f"{k} {v:.2f}" for k, v in row["overlap"].items()),
        )  # fmt: skip
    Console(file=stream).print(table)
