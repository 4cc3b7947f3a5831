"""The detection itself: a pass over each language, then the method's selection over all of them.

Languages are read one after another and share nothing but the model, so the statistics of one never depend on the
text of another; only the selection (LAPE's entropy, PLND's shared core) looks across.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from seatools.engine.neurons import NeuronSet
from seatools.lsn_detect.corpora import CorpusCounts, PackedBatch
from seatools.lsn_detect.lape import GateCounts
from seatools.lsn_detect.lape import select as select_by_entropy
from seatools.lsn_detect.neuron_weights import Chosen, as_weights
from seatools.lsn_detect.options import DetectOptions
from seatools.lsn_detect.plnd import Importances, language_sets
from seatools.lsn_detect.script_check import script_warning
from seatools.lsn_detect.statistics import observe
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FEWEST_TOKENS, FEW_TOKENS = 1_000, 10_000
FEW_DOCS = 20
UNEVEN = 10

Reader = Callable[[str, CorpusCounts], Iterable[PackedBatch]]  # (lang, counts to fill) -> its batches


@dataclass
class Detection:
    """The neurons of each language, facts of the selection for the metadata, and what a user should be told."""

    sets: NeuronSet
    facts: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def detect(
    model: PreTrainedModel,
    langs: Iterable[str],
    read: Reader,
    options: DetectOptions,
    *,
    counts: Mapping[str, CorpusCounts],
    advance: Callable[[int], None] | None = None,
) -> Detection:
    """LAPE or PLND over `langs`; fills `counts`. SeaError for too little text or a model that cannot be measured."""
    if options.method == "lape":
        found = _lape(model, list(langs), read, options, counts, advance)
    else:
        found = _plnd(model, list(langs), read, options, counts, advance)
    warnings = [script_warning(lang, count.sample) for lang, count in counts.items()]
    found.warnings = [*filter(None, warnings), *uneven_warning(counts), *found.warnings]
    if not any(found.sets.values()):
        raise SeaError("no neuron was selected for any language", fix=_looser(options))
    empty = [lang for lang, weights in found.sets.items() if not weights]
    if empty:
        found.warnings.append(f"no neuron was selected for {', '.join(empty)}: {_looser(options)}")
    return found


def _lape(
    model: PreTrainedModel, langs: list[str], read: Reader, options: DetectOptions,
    counts: Mapping[str, CorpusCounts], advance: Callable[[int], None] | None,
) -> Detection:  # fmt: skip
    found = Detection({}, {})
    rows, tokens, widths = [], [], [0]
    for lang in langs:
        gates = GateCounts(model)
        observe(model, gates, read(lang, counts[lang]), advance)
        if gates.num_tokens < FEWEST_TOKENS:
            raise SeaError(
                f"{lang}: {gates.num_tokens:,} tokens are too few for a percentile of probabilities",
                fix=f"{FEWEST_TOKENS:,} at least; LAPE was published with 100M a language",
            )
        if gates.num_tokens < FEW_TOKENS:
            found.warnings.append(f"{lang}: {gates.num_tokens:,} tokens are few; probabilities are coarse")
        rows.append(gates.flat())
        tokens.append(gates.num_tokens)
        widths = [len(count) for count in gates.counts]
    chosen = select_by_entropy(np.stack(rows), np.array(tokens), percentile=options.percentile, share=options.share)
    if chosen.num_kept < chosen.num_wanted:
        found.warnings.append(
            f"only {chosen.num_kept:,} neurons, not {chosen.num_wanted:,}, have a language above the percentile "
            f"({chosen.bar:.3f})"
        )
    found.facts = {"bar": chosen.bar, "num_kept": chosen.num_kept}
    ends = np.cumsum(widths)[:-1]
    for i, lang in enumerate(langs):
        layers = zip(np.split(chosen.chosen[i], ends), np.split(chosen.probabilities[i], ends), strict=True)
        places = {(layer, "ffn"): Chosen(mask, scores) for layer, (mask, scores) in enumerate(layers)}
        found.sets[lang] = as_weights(model, places)
    return found


def _plnd(
    model: PreTrainedModel, langs: list[str], read: Reader, options: DetectOptions,
    counts: Mapping[str, CorpusCounts], advance: Callable[[int], None] | None,
) -> Detection:  # fmt: skip
    found = Detection({}, {})
    top_k, threshold = options.rule
    tallies, num_docs = {}, {}
    for lang in langs:
        importances = Importances(model, parts=options.parts, seq_len=options.seq_len, top_k=top_k, threshold=threshold)
        observe(model, importances, read(lang, counts[lang]), advance)
        tallies[lang], num_docs[lang] = importances.tallies, importances.num_docs
        if num_docs[lang] < 2:
            raise SeaError(
                f"{lang}: {num_docs[lang]} documents of {options.min_doc_tokens} tokens or more; PLND needs several",
                fix="one document a line (.txt), or a record",
            )
        if num_docs[lang] < FEW_DOCS:
            found.warnings.append(f"{lang}: {num_docs[lang]} documents are few to intersect")
    sets, num_core = language_sets(tallies, num_docs, min_docs=options.min_docs)
    if len(langs) == 1:
        found.warnings.append("one language: the core that all languages share is unknown and was not taken away")
    found.facts = {"core": num_core}
    for lang in langs:
        places = {
            place: Chosen(mask, tallies[lang][place].importance.cpu().numpy() / num_docs[lang])
            for place, mask in sets[lang].items()
        }
        found.sets[lang] = as_weights(model, places)
    if any(_normed_output(name) for name, _ in model.named_modules()):
        found.warnings.append("this model norms what its blocks give; importances are those before that norm")
    return found


def uneven_warning(counts: Mapping[str, CorpusCounts]) -> list[str]:
    """A warning when one language has more than ten times the tokens of another."""
    least, most = (f(counts, key=lambda lang: counts[lang].num_tokens) for f in (min, max))
    if counts[most].num_tokens <= UNEVEN * counts[least].num_tokens:
        return []
    return [
        f"{most} has {counts[most].num_tokens:,} tokens, {least} {counts[least].num_tokens:,}: "
        "the smaller one's statistics are the noisier; --max-tokens makes them even"
    ]


def _normed_output(name: str) -> bool:
    return name.rpartition(".")[2] in ("post_feedforward_layernorm", "post_mlp_layernorm")


def _looser(options: DetectOptions) -> str:
    if options.method == "lape":
        return "a larger --share, a lower --percentile, or more text"
    top_k, _ = options.rule
    return f"a lower --min-docs, or a {'lower --threshold' if top_k is None else 'larger --top-k'}"
