"""The report against python sets, and from a neuron file alone."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from made_up_statistics import fused_places, llama_places

from seatools.engine.neuron_layout import layout_json
from seatools.engine.neurons import load_neurons, neuron_metadata, save_neurons
from seatools.lsn_detect.neuron_weights import Chosen, as_weights
from seatools.lsn_detect.report import file_rows, print_table, report_rows
from seatools.streams.errors import SeaError

PLACES = llama_places(layers=3)


def made_up(places=PLACES, langs="th en lo km", share=0.4):
    rng = np.random.default_rng(3)
    return {lang: {place.key: Chosen(rng.random(place.size) < share, rng.random(place.size).astype(np.float32))
                   for place in places} for lang in langs.split()}  # fmt: skip


def members(chosen):
    return {(layer, part, int(i)) for (layer, part), (mask, _) in chosen.items() for i in np.flatnonzero(mask)}


def test_rows_say_what_sets_of_neurons_say():
    sets = made_up()
    rows = report_rows(PLACES, sets, method="plnd", num_parameters=10_000, reads={"th": {"tokens": 7}})
    every = {lang: members(chosen) for lang, chosen in sets.items()}
    assert [row["lang"] for row in rows] == list(sets)
    assert rows[0]["tokens"] == 7
    for row in rows:
        mine = every[row["lang"]]
        assert row["num_neurons"] == len(mine)
        for part in ("ffn", "q", "k", "v"):
            assert row["by_matrix"][part] == sum(found == part for _, found, _ in mine)
            assert row["per_layer_by_matrix"][part] == [sum(n[:2] == (at, part) for n in mine) for at in range(3)]
        assert row["per_layer"] == [sum(n[0] == at for n in mine) for at in range(3)]
        assert row["ffn_share"] == sum(n[1] == "ffn" for n in mine) / 60
        weighs = {"ffn": 3 * 24, "q": 24, "k": 24, "v": 24}
        assert row["parameter_share"] == pytest.approx(sum(weighs[part] for _, part, _ in mine) / 10_000)
        for other, theirs in every.items():
            if other == row["lang"]:
                assert other not in row["overlap"] and other not in row["covers"]
                continue
            assert row["overlap"][other] == pytest.approx(len(mine & theirs) / len(mine | theirs), abs=1e-6)
            assert row["covers"][other] == pytest.approx(len(mine & theirs) / len(theirs), abs=1e-6)
        held = [sum(neuron in theirs for theirs in every.values()) for neuron in mine]
        assert row["held_by"] == {"1": held.count(1), "2": held.count(2), "3+": len([n for n in held if n > 2])}


def test_a_language_without_neurons_and_a_table_without_ffn():
    sets = made_up(share=0.0, langs="th en")
    for row in report_rows(PLACES, sets, method="plnd", num_parameters=10):
        assert (row["num_neurons"], row["by_matrix"], row["parameter_share"]) == (0, {}, 0)
        assert list(row["overlap"].values()) == list(row["covers"].values()) == [0.0]
    (row,) = report_rows(llama_places(parts="q"), {"th": {}}, method="plnd", num_parameters=10)
    assert row["ffn_share"] is None


def stored(places, sets, path, **extra):
    notes = neuron_metadata(
        architecture={"model_type": "x"}, places=places, num_parameters=10_000, method="plnd", thresholds={},
        model_digest="m", corpora={},
    )  # fmt: skip
    save_neurons(path, {lang: as_weights(places, chosen) for lang, chosen in sets.items()}, notes | extra)
    return load_neurons(path)


@pytest.mark.parametrize("places", [PLACES, fused_places()], ids=["llama", "fused"])
def test_a_neuron_file_with_its_layout_gives_the_same_rows(places, tmp_path):
    sets = made_up(places)
    expected = report_rows(places, sets, method="plnd", num_parameters=10_000)
    rows = {row["lang"]: row for row in file_rows(*stored(places, sets, tmp_path / "n", layout=layout_json(places)))}
    assert rows == {row["lang"]: row for row in expected}


def test_a_file_without_its_layout_is_refused(tmp_path):
    with pytest.raises(SeaError, match="does not hold its model's layout"):
        file_rows(*stored(PLACES, made_up(), tmp_path / "n"))


def test_rows_are_json_and_the_table_has_a_line_a_language():
    rows = report_rows(PLACES, made_up(), method="lape", num_parameters=10_000)
    assert json.loads(json.dumps(rows)) == rows
    stream = io.StringIO()
    print_table(rows, stream)
    lines = stream.getvalue().splitlines()
    assert "language-specific neurons, lape" in lines[0]
    (thai,) = (line for line in lines if line.strip().startswith("th"))
    assert f"{rows[0]['num_neurons']}" in thai
    assert max(map(len, lines)) <= 80
