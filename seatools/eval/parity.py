"""`--reference LANG`: how much more a model, or a tokenizer, has to say to say the same, on parallel text.

parity(l) = nats(reference) / nats(l) over the same lines: 1 where a language costs what the reference costs, less where
it costs more. Bits per byte do not compare across languages (Thai has three bytes a letter); this does (research A5).
Of a tokenizer it is tokens(l) / tokens(reference), the other way round, as `sea audit` and the paper have it (Petrov et
al. 2023). The error bar is that of a ratio of sums over pairs of lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seatools.eval.figures import ratio_stderr
from seatools.eval.results import run_config
from seatools.eval.samples import Sample, keyed
from seatools.streams.errors import UsageError

PARITY = "parity"
COSTS = {"loglikelihood": "nats", "tokens": "tokens"}
"""Kind of samples -> what a text costs."""


def check_parallel(counts: dict[str, int], reference: str) -> None:
    """Raises UsageError for a reference without texts, or languages of other numbers of texts."""
    if reference not in counts:
        raise UsageError(f"--reference {reference}, but there is no text in it", fix=f"one of {', '.join(counts)}")
    for lang, count in counts.items():
        if count != counts[reference]:
            raise UsageError(
                f"{lang} has {count:,} texts, {reference} {counts[reference]:,}: parity needs parallel text",
                fix="leave out --reference, or give line-aligned files",
            )


def parity_records(samples: Iterable[Sample], reference: str) -> list[dict[str, Any]]:
    """A score record for each language beside `reference`, in the order of the samples."""
    groups: dict[tuple[str, bytes], dict[str, list[Sample]]] = {}
    for sample in samples:
        shared = keyed({**sample.config, "task_digest": None})
        groups.setdefault((sample.task, shared), {}).setdefault(sample.lang, []).append(sample)
    records = []
    for (task, _), by_lang in groups.items():
        theirs = _costs(by_lang[reference])
        for lang, own in by_lang.items():
            if lang == reference:
                continue
            ours = _costs(own)
            above, below = (ours, theirs) if own[0].kind == "tokens" else (theirs, ours)
            records.append(
                {
                    "task": task, "lang": lang, "metric": PARITY,
                    "value": math.fsum(above.tolist()) / math.fsum(below.tolist()),
                    "stderr": ratio_stderr(above, below), "n": len(ours), "model": own[0].config.get("model"),
                    "config": run_config(own[0].config) | {"reference": reference},
                }
            )  # fmt: skip
    return records


def _costs(samples: Sequence[Sample]) -> np.ndarray:
    """[texts] float64: nats, or tokens."""
    name = COSTS[samples[0].kind]
    return np.array([float(sample.result[name]) for sample in sorted(samples, key=lambda sample: sample.index)])
