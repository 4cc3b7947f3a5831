"""Which neurons are whose: any criterion on the saved statistics, in seconds and without torch.

  lape       sign of the gate, entropy over languages (lape.py)
  plnd       changes its layer in every document (plnd.py)
  magnitude  importance x share of the language (magnitude.py); `taylor`: the same of the loss-aware score
  random     the control, as many per layer and part as in a neuron file (random_control.py)

Here is what they have in common: which parts, whether there is enough text for the criterion to mean anything, and
what a user should be told. Measured on 7 languages of a 32 x 11,008 model with attention (680,000 neurons, 650 MB of
statistics, one core): 0.2-0.5 s for a choice, 0.6 s to load and check the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seatools.engine.neuron_layout import PARTS, Place, WeightView
from seatools.engine.neurons import Neurons, NeuronSet, check_architecture, load_neurons
from seatools.lsn_detect import lape, magnitude, plnd
from seatools.lsn_detect.neuron_weights import Chosen, Key, as_chosen
from seatools.lsn_detect.random_control import FFN_PARTS, random_like
from seatools.lsn_detect.stacked import Stacked
from seatools.lsn_detect.table import StatsTable
from seatools.streams.errors import SeaError, UsageError

METHODS = ("lape", "plnd", "magnitude", "taylor", "random")
TOP_K = 0.1
FEWEST_TOKENS, FEW_TOKENS = 1_000, 10_000
FEWEST_DOCS, FEW_DOCS = 2, 20
UNEVEN = 10

# Where `parts` says nothing: what was published, plus the gate row that belongs to every up row. PLND has no O.
DEFAULT_PARTS = {"lape": FFN_PARTS, "plnd": ("ffn", "shared", "q", "k", "v"), "magnitude": FFN_PARTS,
                 "taylor": FFN_PARTS, "random": PARTS}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SelectOptions:
    """Options of `sea lsn-detect select`."""

    method: str = "lape"
    parts: tuple[str, ...] | None = None
    """Of ffn, shared, q, k, v, o; None: those of DEFAULT_PARTS that were measured."""
    percentile: float = 0.95
    """lape: a neuron counts as active in a language above this percentile of all probabilities."""
    share: float = 0.01
    """lape: this share of all neurons is kept for all languages together; magnitude, taylor: for each language."""
    top: int | None = None
    """Neurons of each language, exactly, in place of `share`; plnd: of its set those that a stricter rule keeps."""
    top_k: float | None = None
    """plnd: share of each layer and part that counts in a document (TOP_K, unless there is a `threshold`)."""
    threshold: float | None = None
    """plnd: eps of the paper's rule Imp >= eps, instead of `top_k`."""
    min_docs: float = 1.0
    """plnd: tau, the share of a language's documents in which a neuron must count."""
    core: str | int = "all"
    """plnd: neurons of "all" languages, or of so many, are of none."""
    like: str | None = None
    """random: the neuron file whose counts are matched."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"unknown method {self.method!r}", fix=f"use one of {', '.join(METHODS)}")
        if (self.method == "random") != (self.like is not None):
            raise UsageError("--method random and --like FILE belong together")
        if self.method != "plnd" and (self.top_k is not None or self.threshold is not None):
            raise UsageError("--top-k and --threshold belong to --method plnd")
        if self.top_k is not None and self.threshold is not None:
            raise UsageError("--top-k and --threshold are two rules; give one")
        if self.top is not None and (self.method == "random" or self.top < 1):
            raise UsageError(
                f"--top {self.top}", fix="1 or more neurons a language; random takes its counts from --like"
            )
        shares = (
            ("--percentile", self.percentile), ("--share", self.share), ("--top-k", self.top_k),
            ("--min-docs", self.min_docs),
        )  # fmt: skip
        for flag, value in shares:
            if value is not None and not 0 < value <= 1:
                raise UsageError(f"{flag} {value} is not a share", fix="more than 0, at most 1")
        if self.threshold is not None and not 0 < self.threshold < float("inf"):
            raise UsageError(f"--threshold {self.threshold} is not a positive number")
        if self.core != "all" and not (isinstance(self.core, int) and self.core >= 2):
            raise UsageError(f"--core {self.core}", fix="all, or a number of languages from 2")
        if self.parts is not None and (not self.parts or any(part not in PARTS for part in self.parts)):
            raise UsageError(f"--parts {','.join(self.parts)}", fix=f"some of {','.join(PARTS)}")
        if self.method == "lape" and any(part not in FFN_PARTS for part in self.parts or ()):
            raise UsageError(
                f"--parts {','.join(self.parts or ())}: LAPE looks at gates, which only the FFN has", fix="--parts ffn"
            )

    @property
    def rule(self) -> tuple[float | None, float | None]:
        """PLND's rule in one document as (top_k, threshold): one of them is None."""
        return (None, self.threshold) if self.threshold is not None else (self.top_k or TOP_K, None)

    def thresholds(self) -> dict[str, Any]:
        """What the neuron file says of how its neurons were chosen."""
        if self.method == "random":
            return {"like": self.like, "seed": self.seed}
        parts = {} if self.parts is None else {"parts": list(self.parts)}
        top = {} if self.top is None else {"top": self.top}
        if self.method == "plnd":
            top_k, threshold = self.rule
            rule: dict[str, Any] = {"top_k": top_k} if threshold is None else {"threshold": threshold}
            return rule | {"min_docs": self.min_docs, "core": self.core} | parts | top
        share = {} if self.top is not None else {"share": self.share}
        return ({"percentile": self.percentile} if self.method == "lape" else {}) | share | parts | top


@dataclass
class Selection:
    """The neurons of each language, how they came about, and what a user should be told."""

    sets: dict[str, dict[Key, Chosen]]
    """lang, in the table's order -> (layer, part) -> neurons, of every place that was looked at."""
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def select(table: StatsTable, options: SelectOptions, *, half: int | None = None) -> Selection:
    """The neurons of each language by `options.method`; with `half` 0 or 1 from that half of the documents alone.

    UsageError for parts or statistics that the table lacks and for one language where a criterion compares; SeaError
    for too little text and where nothing at all was selected. A half is chosen from without those checks of amounts.
    """
    parts = _parts(table, options)
    if options.method == "random":
        return _random(table, options, parts)
    stats = Stacked(table, parts, half)
    found = Selection({}, {"parts": list(parts)})
    if len(stats.langs) < 2 and options.method != "plnd":
        raise UsageError(
            f"{options.method} compares languages and needs two at least", fix="another language, or --method plnd"
        )
    if half is None:
        _check_amounts(stats, options, found.warnings)
    if options.method == "lape":
        chosen, scores = _lape(stats, options, found)
    elif options.method == "plnd":
        top_k, threshold = options.rule
        rule: dict[str, Any] = dict(top_k=top_k, threshold=threshold, min_docs=options.min_docs)
        chosen, scores, facts = plnd.select(stats, **rule, core=options.core, top=options.top)
        found.facts |= facts
        if len(stats.langs) == 1:
            found.warnings.append("one language: the core that all languages share is unknown and was not taken away")
    else:
        num = options.top if options.top is not None else round(options.share * stats.num_neurons)
        if num == 0:
            raise SeaError(f"{options.share} of {stats.num_neurons:,} neurons is none", fix="a larger --share")
        chosen, scores = magnitude.select(stats, options.method, num)
        found.facts["num_wanted"] = num
        _tell_few(dict(zip(stats.langs, chosen.sum(1).tolist(), strict=True)), num, "matter to it at all", found)
    if options.top is not None and options.method in ("lape", "plnd"):
        why = "pass the percentile" if options.method == "lape" else "are its own by this rule"
        _tell_few(dict(zip(stats.langs, chosen.sum(1).tolist(), strict=True)), options.top, why, found)
    scores = scores.astype(np.float32)
    for lang in table.langs:
        row = stats.langs.index(lang)
        masks, values = stats.split(chosen[row]), stats.split(scores[row])
        found.sets[lang] = {key: Chosen(mask, values[key]) for key, mask in masks.items()}
    if half is None:
        _check_found(dict(zip(stats.langs, chosen.sum(1).tolist(), strict=True)), options, found)
    return found


def measured_parts(options: SelectOptions) -> tuple[str, ...]:
    """What has to be measured for this choice."""
    return options.parts if options.parts is not None else DEFAULT_PARTS[options.method]


def jaccard(first: Mapping[str, Mapping[Key, Chosen]], second: Mapping[str, Mapping[Key, Chosen]]) -> dict[str, float]:
    """Per language of both |A & B| / |A | B| over neurons (layer, part, index); 0 for two empty sets."""
    agreement = {}
    for lang in first:
        if lang in second:
            both = either = 0
            for key in first[lang].keys() | second[lang].keys():
                masks = [sets[lang][key].mask for sets in (first, second) if key in sets[lang]]
                either += int(np.logical_or.reduce(masks).sum())
                both += int(np.logical_and.reduce(masks).sum()) if len(masks) == 2 else 0
            agreement[lang] = both / either if either else 0.0
    return agreement


def _parts(table: StatsTable, options: SelectOptions) -> tuple[str, ...]:
    """The parts to choose from. UsageError, with what there is, for one that was not measured."""
    wanted = options.parts
    if wanted is None:
        wanted = tuple(part for part in DEFAULT_PARTS[options.method] if part in table.parts)
        missing = [] if wanted else list(DEFAULT_PARTS[options.method])
    else:
        if set(wanted) == set(PARTS):  # all that there are
            wanted = tuple(part for part in wanted if part in table.parts)
        missing = [part for part in wanted if part not in table.parts]
    if missing:
        raise UsageError(
            f"{', '.join(missing)}: not measured; the statistics have {', '.join(table.parts)}",
            fix="--parts with some of those, or measure again",
        )
    return wanted


def _check_amounts(stats: Stacked, options: SelectOptions, warnings: list[str]) -> None:
    """SeaError for too little text for the criterion, and what to say of little, of uneven and of missing text."""
    for lang in stats.langs:
        missing = stats.table.langs[lang].missing_shards
        if missing:
            warnings.append(f"{lang}: shards {', '.join(missing)} are missing; the rest stands for all of its text")
    for lang, tokens, docs in zip(stats.langs, stats.tokens.tolist(), stats.docs.tolist(), strict=True):
        if tokens < 1 or docs < 1:
            raise SeaError(f"{lang}: no text was measured", fix="leave it out, or measure again")
        if options.method == "lape" and tokens < FEWEST_TOKENS:
            raise SeaError(
                f"{lang}: {tokens:,} tokens are too few for a percentile of probabilities",
                fix=f"{FEWEST_TOKENS:,} at least; LAPE was published with 100M a language",
            )
        if options.method == "lape" and tokens < FEW_TOKENS:
            warnings.append(f"{lang}: {tokens:,} tokens are few; probabilities are coarse")
        if options.method == "plnd" and docs < FEWEST_DOCS:
            least = stats.table.metadata["options"].get("min_doc_tokens", 1)
            raise SeaError(
                f"{lang}: {docs} documents of {least} tokens or more; PLND needs several",
                fix="one document a line (.txt), or a record",
            )
        if options.method == "plnd" and docs < FEW_DOCS:
            warnings.append(f"{lang}: {docs} documents are few to intersect")
    least, most = int(stats.tokens.argmin()), int(stats.tokens.argmax())
    if stats.tokens[most] > UNEVEN * stats.tokens[least]:
        warnings.append(
            f"{stats.langs[most]} has {stats.tokens[most]:,} tokens, {stats.langs[least]} {stats.tokens[least]:,}: "
            "the smaller one's statistics are the noisier; --max-tokens makes them even"
        )


def _lape(stats: Stacked, options: SelectOptions, found: Selection) -> tuple[np.ndarray, np.ndarray]:
    chosen = lape.select(
        stats.matrix("positive"), stats.tokens, percentile=options.percentile, share=options.share, top=options.top
    )
    found.facts |= {"bar": chosen.bar, "num_kept": chosen.num_kept}
    if options.top is None and chosen.num_kept < chosen.num_wanted:
        found.warnings.append(
            f"only {chosen.num_kept:,} neurons, not {chosen.num_wanted:,}, have a language above the percentile "
            f"({chosen.bar:.3f})"
        )
    return chosen.chosen, chosen.probabilities


def _random(table: StatsTable, options: SelectOptions, parts: Sequence[str]) -> Selection:
    """The control of `options.like`, in the places of `table`."""
    assert options.like is not None
    sets, metadata = load_neurons(options.like)
    try:
        check_architecture(metadata, table.metadata["architecture"])
    except SeaError as error:
        raise SeaError(error.what, where=options.like, fix="neurons and statistics of one model") from error
    places = [place for place in table.places if place.part in parts]
    views: dict[str, list[tuple[WeightView, int]]] = {}
    for place in places:
        for view in place.views:
            views.setdefault(view.name, []).append((view, place.size))
    named = ((name, neurons) for weights in sets.values() for name, neurons in weights.items())
    strange = sorted({name for name, neurons in named if not _covered(neurons, views.get(name, ()))})
    if strange:
        raise UsageError(
            f"{options.like}: it has neurons of {strange[0]}, the statistics only of {', '.join(parts)}",
            fix="measure those parts, or draw from the model: sea lsn-detect MODEL --method random",
        )
    return random_selection(places, sets, options)


def _covered(neurons: Neurons, views: Sequence[tuple[WeightView, int]]) -> bool:
    """Whether each of these neurons of a weight is in one of `views`: a fused weight has those of several parts."""
    known = np.zeros(len(neurons.indices), dtype=bool)
    for view, size in views:
        known |= view.neurons(neurons.indices, size) >= 0
    return bool(known.all())


def random_selection(places: Sequence[Place], sets: NeuronSet, options: SelectOptions) -> Selection:
    """The control of the neuron set `sets` in `places`, which may be those of a model without any statistics."""
    found = Selection({})
    like = {}
    for lang, weights in sets.items():
        like[lang], partly = as_chosen(places, weights)
        if partly:
            found.warnings.append(
                f"{lang}: {sum(partly.values()):,} neurons are only in some of their weights in {options.like}; "
                "the control has them in all"
            )
    found.sets = random_like(places, like, options.seed)
    return found


def _tell_few(counts: Mapping[str, int], wanted: int, why: str, found: Selection) -> None:
    few = [f"{lang} {number:,}" for lang, number in counts.items() if 0 < number < wanted]
    if few:
        found.warnings.append(f"fewer neurons than {wanted:,} {why}: {', '.join(few)}")


def _check_found(counts: Mapping[str, int], options: SelectOptions, found: Selection) -> None:
    """SeaError where no language has a neuron, a warning where one has none."""
    if not any(counts.values()):
        raise SeaError("no neuron was selected for any language", fix=_looser(options))
    empty = [lang for lang, number in counts.items() if not number]
    if empty:
        found.warnings.append(f"no neuron was selected for {', '.join(empty)}: {_looser(options)}")


def _looser(options: SelectOptions) -> str:
    larger = "" if options.top is not None else "a larger --share, "
    if options.method == "lape":
        return f"{larger}a lower --percentile, or more text"
    if options.method == "plnd":
        top_k, _ = options.rule
        return f"a lower --min-docs, or a {'lower --threshold' if top_k is None else 'larger --top-k'}"
    return f"{larger}or text on which more neurons are active".removeprefix("or ")
