"""Scores in the layout of lm-evaluation-harness' `results_*.json`, so that its leaderboards and tables read them.

Keys as in its evaluator_utils.py (0.4.12): results[TASK]["acc,none"], ["acc_stderr,none"], group_subtasks, configs,
versions, n-shot, higher_is_better, n-samples. A task of ours in one language is one of its tasks, `xcopa_th`, and our
task its group. It keeps one model's run in a file; so do we: a file for each model, tokenizer, set of switched-off
neurons, and for each further score of a task under other settings. No date stands in the files: the same samples give
the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import orjson

from seatools import __version__
from seatools.eval.results import MEAN
from seatools.eval.scoring import SCORINGS

_FILTERS = {
    "exact_match_flexible": ("exact_match", "flexible-extract"),
    "exact_match_strict": ("exact_match", "strict-match"),
}
_RUN = ("model_digest", "tokenizer_digest", "template_digest", "neurons_digest", "patch_digest", "dtype", "engine")
_HIGHER = {figure.metric: figure.higher_is_better for scoring in SCORINGS.values() for figure in scoring.figures}


def task_name(record: dict[str, Any]) -> str:
    """The harness' name for a record's task and language."""
    return f"{record['task']}_{record['lang']}"


def harness_files(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """File name under the output folder -> its JSON, from the records of `results.scores`."""
    files: dict[tuple[str, bytes, int], list[dict[str, Any]]] = {}
    settings: dict[tuple[str, bytes, str], list[bytes]] = {}
    for record in records:
        if record["lang"] == MEAN:
            continue
        config = record["config"]
        run = (record["model"], orjson.dumps({key: config.get(key) for key in _RUN}))
        seen = settings.setdefault((*run, task_name(record)), [])
        own = orjson.dumps(_settings(config), option=orjson.OPT_SORT_KEYS)
        if own not in seen:
            seen.append(own)
        files.setdefault((*run, seen.index(own)), []).append(record)
    found = {}
    for (model, run_key, number), own_records in files.items():
        digest = hashlib.sha256(run_key + str(number).encode()).hexdigest()[:12]
        body = orjson.dumps(_body(model, own_records), option=orjson.OPT_INDENT_2)
        found[f"{_sanitised(model)}/results_{digest}.json"] = body + b"\n"
    return found


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """What is the same for all metrics of a task."""
    return {key: value for key, value in config.items() if key not in ("signature", "resamples", "seed")}


def _sanitised(model: str) -> str:
    return re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model.strip("/")) or "model"


def _body(model: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    names = sorted({task_name(record) for record in records})
    results: dict[str, dict[str, Any]] = {name: {"alias": name} for name in names}
    higher: dict[str, dict[str, bool]] = {name: {} for name in names}
    configs: dict[str, dict[str, Any]] = {}
    shots: dict[str, int] = {}
    samples: dict[str, dict[str, int]] = {}
    groups: dict[str, set[str]] = {}
    for record in records:
        name, config = task_name(record), record["config"]
        metric, chosen = _FILTERS.get(record["metric"], (record["metric"], "none"))
        results[name][f"{metric},{chosen}"] = record["value"]
        results[name][f"{metric}_stderr,{chosen}"] = "N/A" if record["stderr"] is None else record["stderr"]
        higher[name][metric] = _HIGHER[record["metric"]]
        configs[name] = {"task": name, "metadata": {"sea": __version__}} | _settings(config)
        shots[name] = int(config.get("shots") or 0)
        samples[name] = {"original": record["n"], "effective": record["n"]}
        groups.setdefault(record["task"], set()).add(name)
    return {
        "results": results,
        "group_subtasks": {group: sorted(members) for group, members in sorted(groups.items())},
        "configs": {name: configs[name] for name in names},
        "versions": {name: configs[name].get("task_digest") for name in names},
        "n-shot": {name: shots[name] for name in names},
        "higher_is_better": higher,
        "n-samples": {name: samples[name] for name in names},
        "config": {"model": "sea", "model_args": f"pretrained={model}"},
        "model_name": model,
        "model_name_sanitized": _sanitised(model),
    }
