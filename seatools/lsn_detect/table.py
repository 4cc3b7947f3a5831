"""The statistics file: sums over a language's tokens and documents for every neuron, from which any criterion chooses.

Each language is by itself, so adding one is one more pass and leaves the bytes of the others alone. Everything is a
sum, a minimum or a maximum over documents, in two halves (by the document's number in the corpus), so shards merge to
what one run gives: integers to the bit, float64 sums to rounding (1e-15 relative a shard).
A safetensors file of arrays `th/3/ffn/importance` (language, layer, part, statistic), mapped and not read; a checksum
per language (xxh3) finds damage that sizes do not show. 144 bytes a neuron and language with five shares of top-k:
51 MB for the FFN of Llama-2-7B. No torch on this path: `select` starts in a fraction of a second.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from xxhash import xxh3_128

from seatools.engine.neuron_layout import Place, layout_json, parse_layout
from seatools.streams.errors import SeaError
from seatools.streams.tensors import map_tensors, read_header, save_tensors

FORMAT, FORMAT_VERSION = "sea-neuron-statistics", "1"

Key = tuple[int, str]  # (layer, part), as Place.key
Values = dict[Key, dict[str, np.ndarray]]

# What an array of a place is: dtype, the axis before the two halves, the axis after them.
ARRAYS: dict[str, tuple[type, str | None, str]] = {
    "importance": (np.float64, None, "neurons"),
    "importance_squares": (np.float64, None, "neurons"),
    "least": (np.float64, None, "neurons"),
    "worst_rank": (np.int32, None, "neurons"),
    "selected": (np.int32, "top_k", "neurons"),
    "exceeding": (np.int32, "thresholds", "neurons"),
    "positive": (np.int64, None, "neurons"),
    "squares": (np.float64, None, "neurons"),
    "absolute": (np.float64, None, "neurons"),
    "taylor": (np.float64, None, "neurons"),
    "routed": (np.int64, None, "experts"),
}
_IDENTITY = {
    "model_digest": "models", "tokenizer_digest": "tokenizers", "architecture": "architectures",
    "num_parameters": "models", "options": "options",
}  # fmt: skip


@dataclass
class LanguageStats:
    """The statistics of one language, or of a shard of its text."""

    tokens: np.ndarray
    """int64 [2], of each half."""
    docs: np.ndarray
    """int64 [2]: contexts, which are documents or pieces of `seq_len` of longer ones."""
    values: Values
    """(layer, part) -> statistic -> array; which there are is in ARRAYS."""
    corpora: str
    """Digest of all of the language's text, the same in each of its shards."""
    shard: str | None = None
    """ "1/4", "0,2/4": which shards this is of how many, counted from 0; None: all of the text."""
    files: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    """What a user should know of this text, such as a script that does not fit."""
    limits: str = ""
    """How much of the text was to be read (`StatsOptions.limits`)."""

    @property
    def missing_shards(self) -> list[str]:
        """The shards that are not in here, ["0/4", "3/4"]."""
        if self.shard is None:
            return []
        present, total = shards_of(self.shard)
        return [f"{index}/{total}" for index in range(total) if index not in present]


@dataclass
class StatsTable:
    """Statistics of one model for some languages; `metadata` has what _IDENTITY names, the same for all of them."""

    langs: dict[str, LanguageStats]
    places: tuple[Place, ...]
    metadata: dict[str, Any]
    """model_digest, tokenizer_digest: str; architecture, options: dict; num_parameters: int."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that were measured, in the order of the places."""
        return tuple(dict.fromkeys(place.part for place in self.places))


def shards_of(shard: str) -> tuple[set[int], int]:
    """ "0,2/4" -> ({0, 2}, 4). ValueError for anything else."""
    indices, _, total = shard.partition("/")
    present = {int(index) for index in indices.split(",")}
    if not present or min(present) < 0 or max(present) >= int(total):
        raise ValueError(f"{shard!r} is no shard")
    return present, int(total)


def save_stats(stream: IO[bytes], table: StatsTable) -> None:
    """Write the table; the same table gives the same bytes. SeaError for what `load_stats` would refuse."""
    tensors: dict[str, np.ndarray] = {}
    notes = {}
    for lang, stats in table.langs.items():
        own = _tensors(lang, stats)
        _check_language(own, lang, table, "statistics")
        for name, array in own.items():
            sound = array.dtype.kind != "f" or not np.isnan(array).any()
            if not sound or not (array.size == 0 or array.min() >= 0):
                raise SeaError(f"statistics: {name} has numbers that are negative or NaN", fix="--dtype fp32")
        notes[lang] = {
            "corpora": stats.corpora, "shard": stats.shard, "files": list(stats.files), "warnings": stats.warnings,
            "limits": stats.limits, "checksum": _checksum(own),
        }  # fmt: skip
        tensors |= own
    metadata = {key: table.metadata[key] for key in _IDENTITY}
    texts = {key: value if isinstance(value, str) else _json(value) for key, value in metadata.items()}
    marks = {"format": FORMAT, "format_version": FORMAT_VERSION, "layout": layout_json(table.places)}
    save_tensors(stream, tensors, texts | marks | {"langs": _json(notes)})


def load_stats(paths: Sequence[str | Path]) -> StatsTable:
    """The table of one file or of several together; languages by file, then by name. Arrays are views of the files.

    SeaError, with the file's name, for damaged and foreign files; with both names for files that do not belong
    together (see `merge`).
    """
    tables = [(str(path), _load(path)) for path in paths]
    # Float sums depend on the order of addition: that of the shards, not of the arguments.
    by_shard = sorted(tables, key=lambda item: [sorted(_first(stats)) for stats in item[1].langs.values()])
    first, merged = by_shard[0]
    holders = dict.fromkeys(merged.langs, first)  # lang -> the file that had it last
    for path, table in by_shard[1:]:
        other = next((holders[lang] for lang in table.langs if lang in holders), first)
        merged = merge(merged, table, where=f"{other}, {path}")
        holders |= dict.fromkeys(table.langs, path)
    langs = [lang for _, table in tables for lang in table.langs]
    return StatsTable({lang: merged.langs[lang] for lang in langs}, merged.places, merged.metadata)


def merge(first: StatsTable, second: StatsTable, *, where: str | None = None) -> StatsTable:
    """Both tables as one; a language in both must be different shards of one text, whose statistics are added.

    SeaError, telling both, for other models, tokenizers, measured parts or options.
    """
    for key, what in _IDENTITY.items():
        mine, theirs = first.metadata[key], second.metadata[key]
        if mine != theirs:
            raise SeaError(
                f"statistics of different {what}: {_difference(mine, theirs)}", where=where,
                fix="measure all languages with one model and the same options of `sea lsn-detect stats`",
            )  # fmt: skip
    if first.places != second.places:
        parts = " and ".join(",".join(table.parts) for table in (first, second))
        raise SeaError(f"statistics of different neurons ({parts})", where=where, fix="measure the same --parts")
    langs = dict(first.langs)
    for lang, stats in second.langs.items():
        langs[lang] = _merge_language(lang, langs[lang], stats, where) if lang in langs else stats
    return StatsTable(langs, first.places, first.metadata)


def add_values(first: Values, second: Values) -> Values:
    """The statistics of both texts together: sums, but the smaller `least` and the larger `worst_rank`."""
    if {key: set(arrays) for key, arrays in first.items()} != {key: set(arrays) for key, arrays in second.items()}:
        raise SeaError("statistics of different neurons or of different kinds do not add up")
    return {
        key: {name: join_of(name)(array, second[key][name]) for name, array in arrays.items()}
        for key, arrays in first.items()
    }


def join_of(name: str) -> np.ufunc:
    """How the statistic `name` of two sets of documents becomes that of both."""
    return {"least": np.minimum, "worst_rank": np.maximum}.get(name, np.add)


def _merge_language(lang: str, first: LanguageStats, second: LanguageStats, where: str | None) -> LanguageStats:
    if first.shard is None or second.shard is None:
        raise SeaError(f"{lang} is there twice", where=where, fix="each language once, or all of its --shard i/N")
    (mine, total), (theirs, other_total) = shards_of(first.shard), shards_of(second.shard)
    if first.corpora != second.corpora or total != other_total:
        raise SeaError(
            f"{lang}: shards of different texts: {first.shard} of {first.corpora[:12]} and {second.shard} of "
            f"{second.corpora[:12]}", where=where, fix="shards of the same files and the same N of --shard i/N",
        )  # fmt: skip
    if mine & theirs:
        raise SeaError(f"{lang}: shard {min(mine & theirs)}/{total} is there twice", where=where, fix="each shard once")
    if first.limits != second.limits:
        raise SeaError(
            f"{lang}: shards of different lengths, of {first.limits} and of {second.limits}", where=where,
            fix="the same --max-tokens and --limit for all shards of a text",
        )  # fmt: skip
    both = mine | theirs
    return LanguageStats(
        first.tokens + second.tokens, first.docs + second.docs, add_values(first.values, second.values), first.corpora,
        shard=None if len(both) == total else f"{','.join(map(str, sorted(both)))}/{total}",
        files=tuple(dict.fromkeys(first.files + second.files)),
        warnings=list(dict.fromkeys(first.warnings + second.warnings)), limits=first.limits,
    )  # fmt: skip


def _load(path: str | Path) -> StatsTable:
    header, metadata, _ = read_header(path)
    if metadata.get("format") != FORMAT:
        raise SeaError(f"{path}: not a statistics file", fix="make one with `sea lsn-detect stats`")
    if metadata.get("format_version") != FORMAT_VERSION:
        version = metadata.get("format_version")
        raise SeaError(f"{path}: statistics format {version}; this version reads {FORMAT_VERSION}")
    places = parse_layout(metadata.get("layout", ""), str(path))
    try:
        identity: dict[str, Any] = {key: metadata[key] for key in _IDENTITY}
        for key in ("architecture", "num_parameters", "options"):
            identity[key] = json.loads(identity[key])
        notes = json.loads(metadata["langs"])
        table = StatsTable({}, places, identity)
        tensors, _ = map_tensors(path)
        for name in tensors:
            if name.partition("/")[0] not in notes:
                raise SeaError(f'{path}: "{name}" is of no language of this file', fix="make it again")
        for lang, note in notes.items():
            own = {name: array for name, array in tensors.items() if name.startswith(f"{lang}/")}
            _check_language(own, lang, table, str(path))
            if note["checksum"] != _checksum(own):
                raise SeaError(f"{path}: the statistics of {lang} are damaged", fix="fetch or make it again")
            if note["shard"] is not None:
                shards_of(note["shard"])
            tokens, docs = (own.pop(f"{lang}//{name}") for name in ("tokens", "docs"))
            values: Values = {place.key: {} for place in places}
            for name, array in own.items():
                _, layer, part, statistic = name.split("/")
                values[int(layer), part][statistic] = array
            told = (note["corpora"], note["shard"], tuple(note["files"]), list(note["warnings"]))
            table.langs[lang] = LanguageStats(tokens, docs, values, *told, limits=note.get("limits", ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SeaError(f"{path}: its metadata is not that of a statistics file ({error!r})") from error
    if not table.langs:
        raise SeaError(f"{path}: it holds no language", fix="make one with `sea lsn-detect stats`")
    return table


def _tensors(lang: str, stats: LanguageStats) -> dict[str, np.ndarray]:
    tensors = {f"{lang}//tokens": stats.tokens, f"{lang}//docs": stats.docs}
    for (layer, part), arrays in stats.values.items():
        tensors |= {f"{lang}/{layer}/{part}/{name}": array for name, array in arrays.items()}
    return tensors


def _check_language(tensors: Mapping[str, np.ndarray], lang: str, table: StatsTable, where: str) -> None:
    """SeaError, with `where`, for arrays that are missing, of no place, or of a wrong dtype or shape."""
    if not lang or "/" in lang:
        raise SeaError(f'{where}: "{lang}" is not a language')
    places = {f"{lang}/{place.layer}/{place.part}": place for place in table.places}
    found = set()
    for name, array in tensors.items():
        owner, _, statistic = name.rpartition("/")
        if owner == f"{lang}/" and statistic in ("tokens", "docs"):
            expected: tuple[Any, tuple[int, ...]] = (np.int64, (2,))
        elif owner in places and statistic in ARRAYS:
            dtype, grid, axis = ARRAYS[statistic]
            width = places[owner].size if axis == "neurons" else places[owner].experts
            expected = dtype, (2, width) if grid is None else (len(table.metadata["options"][grid]), 2, width)
        else:
            raise SeaError(f'{where}: "{name}" is no statistic of this model')
        if (array.dtype, array.shape) != expected:
            shape = f"{array.dtype} {list(array.shape)}"
            raise SeaError(f'{where}: "{name}" is {shape}, not {np.dtype(expected[0])} {list(expected[1])}')
        found.add(owner)
    missing = [owner for owner in places if owner not in found]
    if missing or not {f"{lang}//tokens", f"{lang}//docs"} <= set(tensors):
        raise SeaError(f"{where}: statistics of {lang} are missing: {', '.join(missing[:3]) or 'its counts'}")


def _checksum(tensors: Mapping[str, np.ndarray]) -> str:
    digest = xxh3_128()
    for name in sorted(tensors):
        digest.update(name.encode("utf-8"))
        digest.update(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _first(stats: LanguageStats) -> set[int]:
    return set() if stats.shard is None else shards_of(stats.shard)[0]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _difference(mine: Any, theirs: Any) -> str:
    """Both, and of two mappings only where they differ."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        keys = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        return ", ".join(f"{key} {mine.get(key)} and {theirs.get(key)}" for key in keys)
    return " and ".join(value[:12] if isinstance(value, str) else str(value) for value in (mine, theirs))
