"""What of a model is trained, as `--train` says it: `all`, or parts joined with `+`.

    all | new-rows | embeddings | neurons=FILE | layers=0-3,28-31

A part that names a value takes it behind `=` or a space. `TrainSpec` holds it parsed, `text` is its one canonical form
(for manifests), `fingerprint` the same with what the neuron files hold instead of their paths (for resuming).
Nothing here imports torch: `check_spec` reads config.json, the headers of neuron files and the list of new rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatools.engine.new_rows import new_row_ids
from seatools.streams.digests import sha256_file
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.tensors import read_header
from seatools.streams.weight_headers import read_json_object, vocabulary_config

_FORMS = "all, new-rows, embeddings, neurons=FILE, layers=0-3,28-31; several joined with +"
_WORDS = ("all", "new-rows", "embeddings")
# A file's name may hold a +: only one before the next part separates.
_PLUS = re.compile(r"\s*\+\s*(?=(?:all|new-rows|embeddings)\s*(?:\+|$)|(?:neurons|layers)[=\s])")
_VALUED = re.compile(r"(neurons|layers)(?:\s*=\s*|\s+)(.*)", re.DOTALL)
_RANGE = re.compile(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """What is trained; with nothing but defaults, nothing."""

    all: bool = False
    new_rows: bool = False
    embeddings: bool = False
    neurons: tuple[str, ...] = ()
    """Neuron files, sorted, each once."""
    layers: tuple[tuple[int, int], ...] = ()
    """Ranges of decoder layers, first and last inclusive, ascending, none touching the next."""

    @property
    def text(self) -> str:
        """The canonical form, which `parse_train` reads back as this."""
        return self._text([f"neurons={path}" for path in self.neurons])

    def fingerprint(self) -> str:
        """The canonical form with the digest of each neuron file, so that a moved file is the same and an edited one
        is not. Raises OSError for a file that is not there."""
        return self._text(sorted(f"neurons=sha256:{sha256_file(path)}" for path in self.neurons))

    def layer_numbers(self) -> list[int]:
        """The decoder layers trained whole, ascending."""
        return [number for first, last in self.layers for number in range(first, last + 1)]

    def _text(self, neurons: list[str]) -> str:
        words = [word for word, used in zip(_WORDS, (self.all, self.new_rows, self.embeddings), strict=True) if used]
        ranges = [str(first) if first == last else f"{first}-{last}" for first, last in self.layers]
        return "+".join([*words, *neurons, *(["layers=" + ",".join(ranges)] if ranges else [])])


def parse_train(text: str) -> TrainSpec:
    """Read a `--train` value. Raises UsageError, with the forms or the mended value, for anything else."""
    found: dict[str, Any] = {}
    neurons: list[str] = []
    for part in _PLUS.split(text.strip()):
        valued = _VALUED.fullmatch(part)
        if valued is None and part not in _WORDS:
            raise _unknown(text, part)
        key, value = (valued[1], valued[2].strip()) if valued else (part.replace("-", "_"), "")
        if key == "neurons":
            if not value:
                raise UsageError(f"--train {text}: neurons names no file", fix="--train neurons=FILE (from lsn-detect)")
            if value in neurons:
                raise UsageError(f"--train {text}: {value} is named twice", fix="name it once")
            neurons.append(value)
        elif key in found:
            raise UsageError(f"--train {text}: {part.split('=')[0]} is named twice", fix="name it once")
        else:
            found[key] = _ranges(text, value) if key == "layers" else True
    spec = TrainSpec(neurons=tuple(sorted(neurons)), **found)
    if spec.all and spec != TrainSpec(all=True):
        raise UsageError(f"--train {text}: all leaves nothing to add", fix="--train all, or the other parts without it")
    return spec


def _unknown(text: str, part: str) -> UsageError:
    import difflib

    if not part:
        return UsageError(f'--train "{text}" has an empty part', fix=_FORMS)
    if part in ("neurons", "layers"):
        return UsageError(f"--train {text}: {part} needs a value", fix=_FORMS)
    words = re.split(r"[=\s+]", part)
    odd = next((word for word in words if word not in (*_WORDS, "neurons", "layers")), part)
    close = difflib.get_close_matches(odd, [*_WORDS, "neurons", "layers"], n=1)
    return UsageError(f'--train {text}: nothing is called "{odd}"', fix=f"{close[0]}?" if close else _FORMS)


def _ranges(text: str, value: str) -> tuple[tuple[int, int], ...]:
    """Layer ranges, sorted and joined where they touch."""
    where = f"--train {text}"
    found: list[tuple[int, int]] = []
    for item in value.split(","):
        match = _RANGE.fullmatch(item.strip())
        if match is None:
            what = "is negative" if re.fullmatch(r"-\d+(-\d+)?", item.strip()) else "is no layer and no range of layers"
            raise UsageError(f'{where}: "{item.strip()}" {what}', fix="count from 0: layers=0-3,28-31")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"{where}: {first}-{last} runs backwards", fix=f"layers={last}-{first}")
        found.append((first, last))
    joined: list[tuple[int, int]] = []
    for first, last in sorted(found):
        if joined and first <= joined[-1][1]:
            both = f"{joined[-1][0]}-{max(last, joined[-1][1])}"
            raise UsageError(f"{where}: layer {first} is named twice", fix=f"layers={both} names each once")
        if joined and first == joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return tuple(joined)


def check_spec(
    spec: TrainSpec, model_path: Path, *, neuron_langs: Sequence[str] = (), first_new_row: int | None = None
) -> None:
    """Refuse what this model cannot train, before its weights or any data are read.

    Layers it does not have; neuron files that are missing, foreign, of another architecture (as far as config.json
    spells it) or without one of `neuron_langs`; new rows that nothing names. Raises UsageError or SeaError.
    """
    config = vocabulary_config(read_json_object(model_path / "config.json"))
    if spec.layers:
        _check_layers(spec, config, model_path)
    if neuron_langs and not spec.neurons:
        raise UsageError("--neuron-langs chooses from neuron files, and --train names none", fix="--train neurons=FILE")
    langs: set[str] = set()
    for name in spec.neurons:
        langs |= _check_neurons(name, config, model_path)
    missing = [lang for lang in neuron_langs if lang not in langs]
    if missing:
        files = ", ".join(spec.neurons)
        raise UsageError(f"{files}: no neurons for {missing[0]}", fix=f"there are {', '.join(sorted(langs)) or 'none'}")
    if first_new_row is not None and not spec.new_rows:
        raise UsageError("--first-new-row goes with --train new-rows", fix="add new-rows to --train, or leave it out")
    if spec.new_rows and first_new_row is None:
        new_row_ids(model_path)
    if first_new_row is not None and isinstance(rows := config.get("vocab_size"), int) and first_new_row >= rows:
        raise UsageError(
            f"--first-new-row {first_new_row}: {model_path} has {rows} rows, 0 to {rows - 1}", fix="the first new id"
        )


def _check_layers(spec: TrainSpec, config: dict[str, Any], model_path: Path) -> None:
    layers = next((config[key] for key in ("num_hidden_layers", "n_layer") if isinstance(config.get(key), int)), None)
    if layers is None:
        raise SeaError("has no num_hidden_layers", where=str(model_path / "config.json"))
    first, last = next(((first, last) for first, last in spec.layers if last >= layers), (0, 0))
    if last >= layers:
        named = f"layer {last}" if first == last else f"layers {first}-{last}"
        mended = f"layers={min(first, layers - 1)}-{layers - 1}"
        raise UsageError(f"--train names {named}, and {model_path} has 0 to {layers - 1}", fix=mended)


def _check_neurons(name: str, config: dict[str, Any], model_path: Path) -> set[str]:
    """The languages in a neuron file of this architecture. What its tensors hold, `engine.neurons` checks."""
    if not Path(name).is_file():
        raise UsageError(f"{name}: no such neuron file", fix="make one with `sea lsn-detect`")
    _, metadata, _ = read_header(name)
    if metadata.get("format") != "sea-neurons":
        raise SeaError(f"{name}: not a neuron file", fix="make one with `sea lsn-detect`")
    try:
        theirs, counts = dict(json.loads(metadata["architecture"])), dict(json.loads(metadata["counts"]))
        odd = [key for key in theirs if config.get(key) is not None and config[key] != theirs[key]]
        langs = set(counts)
    except (KeyError, ValueError, TypeError) as error:
        raise SeaError(f"{name}: its metadata names no architecture or no languages", fix="make it again") from error
    if odd:
        differ = ", ".join(f"{key} {theirs[key]} there, {config[key]} here" for key in odd)
        raise SeaError(
            f"{name} holds neurons of another architecture than {model_path}: {differ}",
            fix="detect neurons on this model with `sea lsn-detect`",
        )
    return langs
