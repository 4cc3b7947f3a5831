"""Two models on the same items: differences with intervals and p-values, from samples alone.

Items are paired by task, language and the digest of their content, whatever prompt or number of shots they were asked
with; what is in one file only is counted, and too much of it refused, since the rest would be a choice of items.
Accuracies are tested by McNemar's exact test, everything else by the paired bootstrap. Holm's correction runs over the
first metric of every task and language, the one that stands for it; the others are shown with their p-value alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from seatools.eval.figures import Figure
from seatools.eval.paired_tests import holm, mcnemar, smallest_difference
from seatools.eval.resampling import RESAMPLES, paired_difference
from seatools.eval.results import Group, collect
from seatools.eval.samples import UNKEYED, Sample
from seatools.streams.errors import SeaError, UsageError

MAX_UNPAIRED = 0.05
# What two models may differ in without a word: it is what is compared.
_EXPECTED = frozenset(("model_digest", "tokenizer_digest", "neurons_digest", "patch_digest", "stop_ids", *UNKEYED))


@dataclass
class Comparison:
    """Rows for people and programs, and what to say beside them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def matching(samples: Iterable[Sample], wanted: Mapping[str, str]) -> Iterable[Sample]:
    """The samples whose config has these values, as text; the empty text stands for none."""
    for sample in samples:
        if all(_as_text(sample.config.get(key)) == value for key, value in wanted.items()):
            yield sample


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def compare(
    a: Iterable[Sample],
    b: Iterable[Sample],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    max_unpaired: float = MAX_UNPAIRED,
) -> Comparison:
    """B against A. Raises UsageError where A or B holds a task and language twice, SeaError where few items pair."""
    ours, theirs = _by_task(a, "A"), _by_task(b, "B")
    found = Comparison()
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise SeaError(
            "A and B have no task and language in common",
            fix=f"A has {_listed(ours)}; B has {_listed(theirs)}",
        )
    for name, groups in (("A", ours), ("B", theirs)):
        alone = sorted(groups.keys() - set(common))
        if alone:
            found.warnings.append(f"only in {name}: {_listed(alone)}")
    settings: dict[str, list[str]] = {}
    for key in common:
        for difference in _settings(ours[key], theirs[key]):
            settings.setdefault(difference, []).append(" ".join(key))
        found.rows.extend(_rows(ours[key], theirs[key], seed, resamples, max_unpaired))
    found.warnings.extend(f"{what} ({', '.join(where)})" for what, where in settings.items())
    primary = [row for row in found.rows if row.pop("primary")]
    for row in found.rows:
        row["p_holm"] = None
    for row, corrected in zip(primary, holm([row["p"] for row in primary]), strict=True):
        row["p_holm"] = corrected
    return found


def _listed(names: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{task} {lang}" for task, lang in sorted(names)) or "nothing"


def _by_task(samples: Iterable[Sample], name: str) -> dict[tuple[str, str], Group]:
    found: dict[tuple[str, str], Group] = {}
    for group in collect(samples):
        if not group.scoring.figures:  # answers that a judge has scored in other samples
            continue
        key = (group.task, group.lang)
        if key in found:
            differing = _differing(found[key].config, group.config)
            raise UsageError(
                f"{name} holds {key[0]} {key[1]} more than once, with other {', '.join(differing) or 'scoring'}",
                fix=f"--{name.lower()} {(differing or ['KEY'])[0]}=VALUE picks one",
            )
        found[key] = group
    return found


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if key != "model" and one.get(key) != other.get(key))


def _settings(a: Group, b: Group) -> list[str]:
    """How the two were asked differently, a sentence a setting."""
    found = []
    for key in _differing(a.config, b.config):
        if key not in _EXPECTED:
            one, two = (_as_text(group.config.get(key))[:40] or "none" for group in (a, b))
            found.append(f"{key} is {one} in A, {two} in B")
    return found


def _rows(a: Group, b: Group, seed: int, resamples: int, max_unpaired: float) -> list[dict[str, Any]]:
    where = f"{a.task}, {a.lang}"
    if a.scoring_name != b.scoring_name:
        raise SeaError(f"{where}: A is scored by {a.scoring_name}, B by {b.scoring_name}")
    items_a, items_b = a.ordered(), b.ordered()
    both = set(items_a) & set(items_b)
    unpaired = len(items_a) + len(items_b) - 2 * len(both)
    share = unpaired / (len(items_a) + len(items_b))
    if not both or share > max_unpaired:
        raise SeaError(
            f"{where}: {len(items_a) - len(both):,} of A's {len(items_a):,} items and "
            f"{len(items_b) - len(both):,} of B's {len(items_b):,} are not in the other",
            fix="evaluate both on the same data" + (f", or --max-unpaired {share:.2f}" if both else ""),
        )
    rows_a = np.array([item in both for item in items_a])
    rows_b = np.array([item in both for item in items_b])
    found = []
    for place, figure in enumerate(a.scoring.figures):
        one, two = a.table(place)[rows_a], b.table(place)[rows_b]
        if one.shape != two.shape:
            raise SeaError(f"{where}: the items have other numbers of choices in A and B")
        row = _row(a, b, figure, one, two, seed, resamples)
        found.append(row | {"unpaired": unpaired, "primary": place == 0})
    return found


def _row(
    a: Group, b: Group, figure: Figure, one: np.ndarray, two: np.ndarray, seed: int, resamples: int
) -> dict[str, Any]:
    difference = paired_difference(figure, one, two, resamples=resamples, seed=seed)
    values: dict[str, Any] = {key: _finite(value) for key, value in difference._asdict().items()}
    test = "bootstrap"
    if figure.is_flag:
        only_a = int(((one[:, 0] > 0) & (two[:, 0] == 0)).sum())
        only_b = int(((two[:, 0] > 0) & (one[:, 0] == 0)).sum())
        values |= {"p": mcnemar(only_a, only_b), "only_a": only_a, "only_b": only_b}
        test = "mcnemar"
    error = values["stderr"]
    return {
        "task": a.task, "lang": a.lang, "metric": figure.metric, **values, "test": test,
        "detectable": None if error is None else smallest_difference(error),
        "n": len(one), "higher_is_better": figure.higher_is_better, "model_a": a.model, "model_b": b.model,
    }  # fmt: skip


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def better(row: Mapping[str, Any], level: float = 0.05) -> str | None:
    """ "A" or "B" where the corrected test tells them apart, else None."""
    p: float | None = row["p_holm"]
    if p is None or p >= level or not row["difference"]:
        return None
    return "B" if (row["difference"] > 0) == row["higher_is_better"] else "A"


def parse_wanted(arguments: Sequence[str], name: str) -> dict[str, str]:
    """KEY=VALUE arguments. Raises UsageError."""
    wanted = {}
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if not key or not sign:
            raise UsageError(f'--{name} "{argument}" is not KEY=VALUE', fix=f"--{name} shots=5")
        wanted[key] = value
    return wanted
