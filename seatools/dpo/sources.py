"""`sea dpo MODEL en=en.jsonl:10 th=th.jsonl:1`: preferences of several languages in shares, as `sea mix` spells them.

Weights count pairs. An epoch is as long as it takes for every pair to be in it: the source that is longest for its
weight stands in it once, the others again and again, as evenly as whole pairs allow. Sources without a weight have
none: all pairs once, as if they were one file. The numbers depend on the weights alone, the order on (seed, step).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from seatools.streams.errors import UsageError
from seatools.streams.inputs import expand, parse_labelled, refuse_repeats
from seatools.streams.source_specs import check_names, parse_source

MAX_REPEATS = 10_000


@dataclass(frozen=True)
class Source:
    """A part of the preferences: a name (None: not named, one source of all such files), files, a weight or None."""

    name: str | None
    paths: tuple[str, ...]
    weight: Fraction | None = None


def parse_sources(arguments: Sequence[str]) -> list[Source]:
    """PREFS arguments as sources, files expanded. Raises UsageError for a mixture of forms, SeaError for no file."""
    plain = [argument for argument in arguments if parse_labelled(argument)[0] is None]
    if plain:
        if len(plain) < len(arguments):
            fix = f"NAME={plain[0]}"
            raise UsageError(f"{plain[0]} has no name and other preferences have", fix=fix)
        return [Source(None, tuple(expand(plain)))]
    specs = [parse_source(argument) for argument in arguments]
    check_names(specs)
    capped = next((spec for spec in specs if spec.max_epochs is not None), None)
    if capped is not None:
        raise UsageError(f"source {capped.name}: dpo has no @MAX_EPOCHS", fix="--epochs, or sea mix before")
    unweighted = [spec.name for spec in specs if spec.weight is None]
    if unweighted and len(unweighted) < len(specs):
        raise UsageError(f"source {unweighted[0]} has no weight and others have", fix=f"{unweighted[0]}=GLOB:WEIGHT")
    sources = [Source(spec.name, tuple(expand(spec.glob)), spec.weight) for spec in specs]
    refuse_repeats([path for source in sources for path in source.paths])
    return sources


def mixed(sources: Sequence[Source], counts: Sequence[int]) -> list[int]:
    """The numbers of the pairs that an epoch reads, where source s has `counts[s]` of them, numbered through.

    Raises UsageError for weights that would repeat a pair more than 10,000 times.
    """
    firsts = [sum(counts[:place]) for place in range(len(counts))]
    weights = [source.weight for source in sources]
    if any(weight is None for weight in weights):
        return list(range(sum(counts)))
    longest = max(Fraction(count) / weight for count, weight in zip(counts, weights, strict=True) if weight)
    numbers: list[int] = []
    for source, first, count in zip(sources, firsts, counts, strict=True):
        assert source.weight is not None
        wanted = round(source.weight * longest)
        if wanted > MAX_REPEATS * count:
            what = f"source {source.name}: its {count} pairs would each be read {wanted // count:,} times an epoch"
            raise UsageError(what, fix="a smaller weight, or more pairs")
        whole, rest = divmod(wanted, count)
        numbers += list(range(first, first + count)) * whole
        numbers += [first + place * count // rest for place in range(rest)]
    return numbers


def identity(sources: Sequence[Source], counts: Sequence[int]) -> str:
    """The mix in a line, for manifests and for resuming: "en 120 x 10 + th 30 x 1"."""
    return " + ".join(
        f"{source.name or 'pairs'} {count}" + ("" if source.weight is None else f" x {source.weight}")
        for source, count in zip(sources, counts, strict=True)
    )
