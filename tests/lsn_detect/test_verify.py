"""What a verification measures: the model as if the weights were zero, and figures that say which set matters."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_bilingual import NEURONS, TEXTS, language_sets, write_bilingual

from seatools.engine.load import load_model
from seatools.engine.neuron_layers import find_layers
from seatools.engine.neuron_parts import selections
from seatools.engine.neurons import Neurons, union
from seatools.engine.text_nats import Readings, readings_of, text_nats
from seatools.lsn_detect.neuron_weights import Chosen, as_weights
from seatools.lsn_detect.output_language import OutputJudge
from seatools.lsn_detect.switched_off import Run, chosen_langs, matched_controls, plan_runs
from seatools.lsn_detect.verify import Measured, is_parallel, measure
from seatools.lsn_detect.verify_report import failed_checks, print_tables, report_records
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import Record, Rejects, dump
from seatools.text.cleaning.language_tiers import Identified
from seatools.text.scored_text import ScoredText, encode_texts
from seatools.text.tokenizer import Tokenizer, load_tokenizer

MADE = {"resamples": 200, "seed": 0, "made": {}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bilingual(tmp_path_factory.mktemp("bilingual"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_model(folder, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def sets(model: Any) -> dict[str, Any]:
    return language_sets(model)


@pytest.fixture(scope="module")
def texts(tokenizer: Tokenizer) -> dict[str, list[ScoredText]]:
    def encoded(lang: str, lines: list[str]) -> list[ScoredText]:
        values: list[dict[str, Any]] = [{"text": line} for line in lines]
        records = [Record(dump(value), value, f"{lang}.txt", line) for line, value in enumerate(values, 1)]
        return encode_texts(records, tokenizer, rejects=Rejects())

    return {lang: encoded(lang, lines) for lang, lines in TEXTS.items()}


@pytest.fixture(scope="module")
def readings(texts: dict[str, list[ScoredText]]) -> Readings:
    ids = [text.ids for own in texts.values() for text in own]
    return readings_of(ids, context_id=1, window=64, stride=32)


@pytest.fixture
def nats(model: Any, texts: Any, readings: Any, tokenizer: Any) -> Callable[..., dict[str, np.ndarray]]:
    """`nats(runs)`: what `measure` gives, and how many readings it took in `nats.read`."""

    def run(runs: list[Run], on: Any = model) -> dict[str, np.ndarray]:
        run.read = 0  # type: ignore[attr-defined]

        def advance(count: int) -> None:
            run.read += count  # type: ignore[attr-defined]

        return measure(on, runs, texts, readings, tokenizer, batch_tokens=2048, prompts=None, advance=advance).nats

    return run


def zeroed(model: Any, weights: Mapping[str, np.ndarray]) -> Any:
    """A copy without these neurons, the long way."""
    without = copy.deepcopy(model)
    parameters = dict(without.named_parameters())
    with torch.no_grad():
        for name, dim, index in selections(without, weights):
            parameters[name].index_fill_(dim, index, 0)
    return without


def num_bytes(texts: Mapping[str, list[ScoredText]]) -> dict[str, np.ndarray]:
    return {lang: np.array([text.num_bytes for text in own], dtype=np.float64) for lang, own in texts.items()}


def test_every_run_equals_a_model_with_zero_weights(model, sets, readings, nats):
    places = find_layers(model).all_places()
    rng = np.random.default_rng(0)
    some = {place.key: Chosen(rng.random(place.size) < 0.2, np.zeros(place.size, np.float32)) for place in places}
    sets = sets | {"all": as_weights(places, some)}
    _, controls = matched_controls(places, sets, ["th", "all"], number=1, seed=3)
    runs = plan_runs(sets, ["th", "all"], controls)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = np.concatenate([*nats(runs).values()], axis=1)
    assert [(run.lang, run.draw) for run in runs] == [(None, None), ("th", None), ("th", 0), ("all", None), ("all", 0)]
    for run, row in zip(runs, found, strict=True):
        np.testing.assert_allclose(row, text_nats(zeroed(model, run.weights), readings, 0), rtol=1e-5)
    assert np.abs(found[1:] - found[0]).max(1).min() > 1e-3  # each of them changes something
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_control_has_as_many_neurons_in_every_matrix_and_others(model, sets):
    places = find_layers(model).all_places()
    counts, (first, second) = matched_controls(places, sets, ["th", "en"], number=2, seed=0)
    assert counts == {"th": NEURONS, "en": NEURONS}
    for control in (first, second):
        for lang, weights in sets.items():
            sizes = {name: len(neurons.indices) for name, neurons in weights.items()}
            assert {name: len(neurons.indices) for name, neurons in control[lang].items()} == sizes
    assert any(first["th"][name].indices.tolist() != second["th"][name].indices.tolist() for name in first["th"])
    again = matched_controls(places, sets, ["th"], number=1, seed=1)[1][0]["th"]  # draw 1 of seed 0
    assert {name: n.indices.tolist() for name, n in again.items()} == {
        name: n.indices.tolist() for name, n in second["th"].items()
    }


def test_neurons_where_the_model_has_none_get_no_control(model, sets):
    nowhere = {"th": {"model.layers.9.mlp.down_proj": Neurons(np.array([0], np.int32), np.zeros(1, np.float32))}}
    with pytest.raises(SeaError, match=r"model\.layers\.9\.mlp\.down_proj"):
        matched_controls(find_layers(model).all_places(), nowhere, ["th"], number=1, seed=0)


def test_a_language_without_neurons_costs_no_pass_and_changes_nothing(model, sets, readings, texts, nats):
    sets = {"th": {}, "en": sets["en"]}
    counts, controls = matched_controls(find_layers(model).all_places(), sets, ["th", "en"], number=2, seed=0)
    runs = plan_runs(sets, ["th", "en"], controls)
    found = nats(runs)
    assert nats.read == (1 + 1 * (1 + 2)) * len(readings.documents)
    for rows in found.values():
        assert (rows[1:4] == rows[0]).all() and (rows[4:] != rows[0]).any()
    records = report_records(
        Measured(found, {}), runs, num_bytes(texts), neurons=counts, parallel=True, judge=None, **MADE
    )
    summary = next(row for row in records if row["record"] == "summary" and row["off"] == "th")
    assert (summary["own"], summary["own_interval"], summary["selectivity"]) == (0, [0, 0], 0)
    assert summary["warnings"] == ["th has no neurons: nothing was switched off"]
    assert summary["hit_hardest"] is None and summary["better_than_random"] is False


def test_sets_that_matter_hurt_their_language_more_than_random_ones(model, sets, texts, nats):
    counts, controls = matched_controls(find_layers(model).all_places(), sets, ["th", "en"], number=3, seed=0)
    runs = plan_runs(sets, ["th", "en"], controls)
    records = report_records(
        Measured(nats(runs), {}), runs, num_bytes(texts), neurons=counts, parallel=True, judge=None, **MADE
    )
    for row in records:
        if row["record"] == "summary":
            assert row["own_interval"][0] > 0.1 > row["random_own_interval"][1]
            assert row["better_than_random"] and row["hit_hardest"] == row["off"] and row["warnings"] == []
            assert float(row["selectivity"]) > 10
    assert failed_checks(records, min_selectivity=10, better_than_random=True) == []


def test_a_random_set_is_no_better_than_random(model, sets, texts, nats):
    places = find_layers(model).all_places()
    random = matched_controls(places, sets, ["th", "en"], number=1, seed=17)[1][0]
    counts, controls = matched_controls(places, random, ["th", "en"], number=3, seed=0)
    runs = plan_runs(random, ["th", "en"], controls)
    records = report_records(
        Measured(nats(runs), {}), runs, num_bytes(texts), neurons=counts, parallel=True, judge=None, **MADE
    )
    summaries = [row for row in records if row["record"] == "summary"]
    for row in summaries:
        assert row["better_than_random"] is False
        assert f"the neurons of {row['off']} do no better than random ones" in row["warnings"][0]
    assert failed_checks(records, min_selectivity=None, better_than_random=True) == [
        "th does no better than random", "en does no better than random"
    ]  # fmt: skip


def made_up(**changes: float) -> tuple[dict[str, np.ndarray], list[Run], dict[str, np.ndarray]]:
    """40 texts of 100 bytes a language, 1 bit per byte, and by how much that changes without th's neurons."""
    base = np.full(40, 100 * np.log(2)) * np.random.default_rng(0).uniform(0.9, 1.1, 40)
    off = {"w": np.array([0])}
    nats = {lang: np.stack([base, base * (1 + change), base * 1.01]) for lang, change in changes.items()}
    return nats, [Run(None, None, {}), Run("th", None, off), Run("th", 0, off)], dict.fromkeys(nats, np.full(40, 100.0))


def test_the_matrix_and_its_summary_by_hand():
    nats, runs, sizes = made_up(th=0.3, en=0.1, vi=-0.02)
    *cells, summary = report_records(
        Measured(nats, {}), runs, sizes, neurons={"th": 5}, parallel=True, judge=None, **MADE
    )
    bits = nats["th"][0].sum() / np.log(2) / 4000
    assert [row["scored"] for row in cells] == ["th", "en", "vi"]
    for row, change in zip(cells, (0.3, 0.1, -0.02), strict=True):
        assert row["bits_per_byte"] == pytest.approx(bits)
        assert row["change"] == pytest.approx(row["without"] - row["bits_per_byte"]) == pytest.approx(change * bits)
        assert row["random_change"] == pytest.approx(0.01 * bits) == pytest.approx(row["random_changes"][0])
        low, high = row["change_interval"]
        assert low < row["change"] < high
        assert (row["texts"], row["bytes"], row["outputs"]) == (40, 4000, None)
    assert summary["own"] == pytest.approx(0.3 * bits)
    assert summary["others"] == pytest.approx(0.04 * bits)
    # The same texts are drawn for all languages, and these change alike: the ratios do not vary.
    assert [summary["selectivity"], *summary["selectivity_interval"]] == pytest.approx([7.5] * 3)
    assert summary["random_selectivity"] == pytest.approx(1)
    assert summary["beyond_random"] == pytest.approx(0.29 * bits)
    assert summary["hit_hardest"] == "th" and summary["warnings"] == []


def test_texts_that_are_not_parallel_are_drawn_apart():
    nats, runs, sizes = made_up(th=0.3, en=0.1)
    *_, summary = report_records(Measured(nats, {}), runs, sizes, neurons={"th": 5}, parallel=False, judge=None, **MADE)
    low, high = summary["selectivity_interval"]
    assert low < summary["selectivity"] - 0.01 and high > summary["selectivity"] + 0.01


def test_another_language_that_is_hit_harder_is_named():
    nats, runs, sizes = made_up(th=0.1, en=0.3)
    *_, summary = report_records(Measured(nats, {}), runs, sizes, neurons={"th": 5}, parallel=True, judge=None, **MADE)
    assert summary["hit_hardest"] == "en" and "serve en more" in summary["warnings"][0]


def test_a_selectivity_below_the_asked_one_fails_with_both():
    nats, runs, sizes = made_up(th=0.3, en=0.1)
    records = report_records(Measured(nats, {}), runs, sizes, neurons={"th": 5}, parallel=True, judge=None, **MADE)
    assert failed_checks(records, min_selectivity=2.9, better_than_random=False) == []
    (failed,) = failed_checks(records, min_selectivity=3.1, better_than_random=False)
    assert failed == "selectivity of th is 3, below 3.1"


def test_one_draw_can_only_show_that_a_set_is_no_better():
    for change, expected in ((0.3, None), (0.01, False)):  # the control: 0.01
        nats, runs, sizes = made_up(th=change, en=0.0)
        *_, summary = report_records(
            Measured(nats, {}), runs, sizes, neurons={"th": 5}, parallel=True, judge=None, **MADE
        )
        assert summary["better_than_random"] is expected
        assert any("no better than random" in text for text in summary["warnings"]) is (expected is False)


@pytest.mark.parametrize(("en", "selectivity"), [(-0.1, "inf"), (0.0, "inf")])
def test_a_selectivity_without_bound_is_inf_and_passes(en, selectivity):
    nats, runs, sizes = made_up(th=0.1, en=en)
    records = report_records(Measured(nats, {}), runs, sizes, neurons={"th": 5}, parallel=True, judge=None, **MADE)
    assert records[-1]["selectivity"] == selectivity and records[-1]["selectivity_interval"] == ["inf", "inf"]
    assert failed_checks(records, min_selectivity=1e9, better_than_random=False) == []
    assert b"NaN" not in dump(records[-1])


def test_outputs_that_change_language_are_counted_for_the_set_and_its_control():
    thai, english, short = Identified("th", "Thai"), Identified(None, "Latin"), Identified(None, None)
    nats, runs, sizes = made_up(th=0.1)
    outputs = [[thai, thai, english], [english, thai, short], [thai, thai, english]]
    cell, _ = report_records(
        Measured(nats, {"th": outputs}), runs, sizes, neurons={"th": 5}, parallel=False,
        judge=OutputJudge("script"), **MADE,
    )  # fmt: skip
    assert cell["outputs"] == {"prompts": 3, "judged": 2, "changed": 1, "share": 0.5}
    assert cell["random_outputs"] == {"prompts": 3, "judged": 3, "changed": 0, "share": 0.0}


def test_tables_mark_what_is_beyond_its_interval(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    nats, runs, sizes = made_up(th=0.3, en=0.1, vi=0.0)
    records = report_records(Measured(nats, {}), runs, sizes, neurons={"th": 5}, parallel=True, judge=None, **MADE)
    stream = io.StringIO()
    print_tables(records, stream)
    own, random, summary = (
        next(line.split() for line in stream.getvalue().splitlines() if line.split()[: len(start)] == start)
        for start in (["th"], ["random", "th"], ["th", "5"])
    )
    assert own == ["th", f"{records[0]['change']:+.4f}*", f"{records[1]['change']:+.4f}*", "+0.0000"]
    assert [cell[-1] for cell in random[2:]] == ["*", "*", "*"]
    figures = [records[-1][key] for key in ("own", "others", "selectivity", "random_own", "beyond_random")]
    assert [float(cell) for cell in summary[2:]] == pytest.approx(figures, abs=5e-3)
    assert "6.00 to 6.00" in stream.getvalue() and "…" not in stream.getvalue()


def test_text_is_parallel_by_its_lines(texts):
    assert is_parallel(texts)
    assert not is_parallel({"th": texts["th"], "en": texts["en"][:-1]})
    assert not is_parallel({"th": texts["th"][1:], "en": texts["en"][:-1]})  # as many, but of other lines
    assert not is_parallel({"th": texts["th"]})


def test_languages_come_in_the_order_of_the_text():
    sets: dict[str, Any] = {"en": {}, "th": {}}
    assert chosen_langs(sets, ["th", "vi", "en"], None, "n") == ["th", "en"]
    assert chosen_langs(sets, ["th", "vi"], ["th"], "n") == ["th"]


@pytest.mark.parametrize(
    ("scored", "asked", "match"),
    [
        (["th"], None, "neurons of en, and there is no text"),
        (["vi"], None, "neurons of en and th"),
        (["th", "en", "vi"], ["vi"], 'no neurons of language "vi"'),
        (["th"], ["en"], "no text to score it on"),
    ],
)
def test_languages_without_text_or_neurons_are_named(scored, asked, match):
    sets: dict[str, Any] = {"en": {}, "th": {}}
    with pytest.raises(UsageError, match=match):
        chosen_langs(sets, scored, asked, "neurons.safetensors")


def test_figures_that_are_not_finite_name_text_and_language(model, sets, nats):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.lm_head.weight[5] = float("nan")
    with pytest.raises(SeaError, match="not finite") as caught:
        nats([Run(None, None, {})], broken)
    assert caught.value.where == "th.txt:1"
    assert union(sets, ["th"])
