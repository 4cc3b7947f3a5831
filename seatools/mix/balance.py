"""`--balance lang`: a source split by the language of its records into parts of equal weight.

For instruction data, of which English has most: each language of a source gets the same share of the units that the
source has, which are best counted in trained tokens (`--unit loss-tokens`; SambaLingo and SeaLLMs balance their SFT
languages). The parts are sources of their own from there on: NAME.LANG, with epochs, shares and an order of its own.
A `lang` comes from the data and the name goes to terminals, tables and metadata, so what it has besides printable
characters, and its spaces and slashes, stand there as codes, and a long one is cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seatools.mix.keyed_order import epoch_order
from seatools.mix.source_index import SourceIndex
from seatools.streams.errors import SeaError
from seatools.streams.inputs import shown
from seatools.streams.source_specs import check_names

MAX_SHOWN = 40  # characters of a `lang` in a name


def balanced_by_lang(indexes: Sequence[SourceIndex], *, per_group_cap: int | None, seed: int) -> list[SourceIndex]:
    """The parts of all sources, in the order of the sources and, inside, of the languages' names.

    With `per_group_cap` a part keeps so many documents, chosen by a permutation keyed by the seed. Raises SeaError
    for records without a `lang` in a source that has none of its own.
    """
    parts = [part for index in indexes for part in _parts(index, per_group_cap, seed)]
    check_names([part.spec for part in parts])
    return parts


def _parts(index: SourceIndex, per_group_cap: int | None, seed: int) -> list[SourceIndex]:
    spec, names = index.spec, list(index.langs)
    of_each = np.asarray(index.lang_ids)
    if "" in names:
        unnamed = np.flatnonzero(of_each == names.index(""))
        if len(unnamed) and spec.lang is None:
            path = shown(index.store.files[index.files[int(unnamed[0])]].path)
            raise SeaError(
                f'source {spec.name}: {len(unnamed):,} of {len(index):,} documents have no "lang", the first in {path} '
                f"(document {int(unnamed[0]) + 1:,} of the source)",
                fix=f'give the records a "lang", or the source one in a plan file: lang = "{spec.name}"',
            )
        names = [name or str(spec.lang) for name in names]
    found = sorted({names[number] for number in np.unique(of_each).tolist()})
    parts = []
    for lang in found:
        numbers = np.flatnonzero(np.isin(of_each, [number for number, name in enumerate(names) if name == lang]))
        name = f"{spec.name}.{shown_lang(lang)}"
        if per_group_cap is not None and len(numbers) > per_group_cap:
            kept = epoch_order(len(numbers), seed=seed, name=f"{name}\0cap", epoch=0)[:per_group_cap]
            numbers = numbers[np.sort(kept)]
        part = replace(spec, name=name, lang=lang, part_of=spec.name, parts=len(found))
        chosen = index.subset(part, numbers)
        chosen.stored_files = index.stored_files
        parts.append(chosen)
    return parts


def shown_lang(lang: str) -> str:
    """A `lang` as a part of a name, in printable characters without spaces and slashes; no two have one name."""
    name = "".join(char if char.isprintable() and char not in " /\\" else _code(ord(char)) for char in lang)
    if len(name) <= MAX_SHOWN:
        return name
    return f"{name[: MAX_SHOWN - 12]}...{hashlib.sha256(lang.encode()).hexdigest()[:9]}"


def _code(number: int) -> str:
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"
