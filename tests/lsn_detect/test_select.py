"""Selection from a table: parts, amounts of text, halves, what is told, and no torch on the way."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from made_up_statistics import documents, fused_places, language, llama_places, metadata, table

from seatools.engine.neurons import NeuronSet, load_neurons, neuron_metadata, save_neurons
from seatools.lsn_detect.neuron_weights import Chosen, as_weights
from seatools.lsn_detect.select import METHODS, Selection, SelectOptions, jaccard, random_selection, select
from seatools.lsn_detect.stacked import Stacked
from seatools.lsn_detect.table import StatsTable, save_stats
from seatools.streams.errors import SeaError, UsageError

LOOSE: dict[str, dict[str, Any]] = {
    "lape": dict(share=0.2, percentile=0.7),
    "plnd": dict(top_k=0.8),
    "magnitude": dict(share=0.1),
    "taylor": dict(share=0.1),
}


def chosen_by(made: StatsTable, method: str, half: int | None = None, **options: Any) -> Selection:
    return select(made, SelectOptions(method=method, **{**LOOSE.get(method, {}), **options}), half=half)


def counts(selection: Selection) -> dict[str, int]:
    return {lang: sum(int(chosen.mask.sum()) for chosen in places.values()) for lang, places in selection.sets.items()}


def union_size(selection: Selection) -> int:
    keys = next(iter(selection.sets.values())).keys()
    return sum(int(np.logical_or.reduce([sets[key].mask for sets in selection.sets.values()]).sum()) for key in keys)


def test_lape_takes_exactly_its_share_over_all_layers_and_tells_its_bar():
    found = chosen_by(table(), "lape")
    assert union_size(found) == round(0.2 * 2 * 20) == found.facts["num_kept"]
    assert found.facts["parts"] == ["ffn"]
    probabilities = table().langs["th"].values[1, "ffn"]["positive"].sum(0) / table().langs["th"].tokens.sum()
    np.testing.assert_allclose(found.sets["th"][1, "ffn"].scores, probabilities, rtol=1e-6)
    assert (probabilities[found.sets["th"][1, "ffn"].mask] > found.facts["bar"]).all()


@pytest.mark.parametrize("method", ["lape", "plnd", "magnitude", "taylor"])
def test_top_is_exact_for_every_method(method):
    assert set(counts(chosen_by(table(), method, top=3)).values()) == {3}


def test_magnitude_takes_its_share_of_all_neurons_of_the_parts_for_each_language():
    assert set(counts(chosen_by(table(), "magnitude")).values()) == {round(0.1 * 40)}
    wide = chosen_by(table(), "magnitude", parts=("ffn", "q", "v"))
    assert set(counts(wide).values()) == {round(0.1 * 2 * (20 + 24 + 8))}
    assert set(wide.sets["th"]) == {(layer, part) for layer in (0, 1) for part in ("ffn", "q", "v")}


def test_plnd_takes_attention_but_not_its_output_unless_asked():
    made = table(places=llama_places(parts="fqkvo"))
    assert {part for _, part in chosen_by(made, "plnd").sets["th"]} == {"ffn", "q", "k", "v"}
    assert {part for _, part in chosen_by(made, "plnd", parts=("o",)).sets["th"]} == {"o"}


@pytest.mark.parametrize("method", ["lape", "plnd", "magnitude", "taylor"])
def test_the_order_of_languages_and_of_places_changes_no_choice(method):
    made = table()
    other = StatsTable(dict(reversed(made.langs.items())), made.places[::-1], made.metadata)
    stacked = [Stacked(one, made.parts) for one in (made, other)]
    assert stacked[0].langs == stacked[1].langs and stacked[0].places == stacked[1].places  # sums to the bit, and ties
    first, second = chosen_by(made, method), chosen_by(other, method)
    assert list(second.sets) == ["lo", "en", "th"]
    for lang, places in first.sets.items():
        for key, chosen in places.items():
            assert np.array_equal(chosen.mask, second.sets[lang][key].mask)
            assert np.array_equal(chosen.scores, second.sets[lang][key].scores)


@pytest.mark.parametrize("method", ["lape", "plnd", "magnitude", "taylor"])
@pytest.mark.parametrize("half", [0, 1])
def test_a_half_is_chosen_from_as_if_its_documents_were_all(method, half):
    places = llama_places()
    docs = {lang: documents(places, 60, seed) for seed, lang in enumerate(("th", "en"))}
    whole = StatsTable({lang: language(mine, places) for lang, mine in docs.items()}, places, metadata())
    alone = StatsTable({lang: language(mine[half::2], places) for lang, mine in docs.items()}, places, metadata())
    ours, expected = chosen_by(whole, method, half), chosen_by(alone, method)
    assert jaccard(ours.sets, expected.sets) == {"th": 1.0, "en": 1.0}


def test_jaccard_is_over_layer_part_and_index():
    def sets(**places: list[int]) -> dict[str, dict[Any, Chosen]]:
        return {
            "th": {(int(key[1:]), key[0]): Chosen(np.isin(np.arange(9), index), np.zeros(9, np.float32))
                   for key, index in places.items()}
        }  # fmt: skip

    assert jaccard(sets(q0=[1, 2], v0=[3]), sets(q0=[2, 4], v1=[3])) == {"th": 1 / 5}
    assert jaccard(sets(q0=[]), sets(q0=[])) == {"th": 0.0}
    assert jaccard({"th": {}, "en": {}}, sets(q0=[1])) == {"th": 0.0}


@pytest.mark.parametrize("method", ["lape", "magnitude", "taylor"])
def test_one_language_has_nothing_to_compare_with(method):
    with pytest.raises(UsageError, match=f"{method} compares languages and needs two at least"):
        chosen_by(table("th"), method)


def test_plnd_of_one_language_tells_that_the_core_is_unknown():
    found = chosen_by(table("th"), "plnd")
    assert counts(found)["th"] > 0
    assert any("the core that all languages share is unknown" in warning for warning in found.warnings)


def test_parts_that_were_not_measured_are_named():
    made = table(places=llama_places(parts="fv"))
    with pytest.raises(UsageError, match="q, k: not measured; the statistics have ffn, v"):
        chosen_by(made, "plnd", parts=("q", "k"))
    with pytest.raises(UsageError, match="ffn, shared: not measured; the statistics have v"):
        chosen_by(table(places=llama_places(parts="v")), "lape")


@pytest.mark.parametrize(
    ("method", "name", "message"),
    [("lape", "positive", "gate signs were not counted for ffn of layer 1"),
     ("taylor", "taylor", "loss-aware score was not measured for ffn of layer 1"),
     ("magnitude", "importance_squares", "importance_squares was not measured")],
)  # fmt: skip
def test_statistics_that_were_not_measured_are_named(method, name, message):
    made = table()
    del made.langs["en"].values[1, "ffn"][name]
    with pytest.raises(UsageError, match=message):
        chosen_by(made, method)


def with_amounts(tokens: dict[str, int], docs: int = 30) -> StatsTable:
    made = table(" ".join(tokens))
    for lang, number in tokens.items():
        made.langs[lang].tokens[:] = number // 2
        made.langs[lang].docs[:] = docs // 2
    return made


def test_too_little_text_is_refused_and_little_is_told():
    with pytest.raises(SeaError, match="en: 800 tokens are too few for a percentile"):
        chosen_by(with_amounts({"th": 50_000, "en": 800}), "lape")
    told = chosen_by(with_amounts({"th": 50_000, "en": 4_800}), "lape").warnings
    assert "en: 4,800 tokens are few; probabilities are coarse" in told
    assert any(line.startswith("th has 50,000 tokens, en 4,800") for line in told)
    told = chosen_by(with_amounts({"th": 50_000, "en": 12_000}), "lape").warnings
    assert not [line for line in told if "are few" in line or "noisier" in line]
    one = table(number=1)
    with pytest.raises(SeaError, match="(th|en|lo): 1 documents of 8 tokens or more; PLND needs several"):
        chosen_by(one, "plnd")
    assert any("6 documents are few to intersect" in line for line in chosen_by(table(number=6), "plnd").warnings)
    empty = with_amounts({"th": 0, "en": 2_000})
    for method in ("lape", "plnd", "magnitude", "taylor"):
        with pytest.raises(SeaError, match="th: no text was measured"):
            chosen_by(empty, method)


def test_missing_shards_are_told():
    made = table()
    made.langs["en"].shard = "1,2/4"
    assert "en: shards 0/4, 3/4 are missing; the rest stands for all of its text" in chosen_by(made, "lape").warnings


def test_nothing_selected_is_an_error_with_a_way_out_and_a_bare_language_a_warning():
    made = table()
    with pytest.raises(SeaError, match="no neuron was selected for any language") as error:
        chosen_by(made, "plnd", top_k=None, threshold=1e9)
    assert "lower --threshold" in (error.value.fix or "")
    for arrays in made.langs["th"].values.values():
        arrays["worst_rank"][:] = 10_000
    told = chosen_by(made, "plnd").warnings
    assert any("no neuron was selected for th: a lower --min-docs, or a larger --top-k" in line for line in told)
    told = chosen_by(table(), "lape", top=30).warnings
    assert any(line.startswith("fewer neurons than 30 pass the percentile: ") for line in told)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(method="lapse"), "unknown method 'lapse'"),
        (dict(method="random"), "--method random and --like"),
        (dict(method="lape", like="x"), "--method random and --like"),
        (dict(method="lape", top_k=0.1), "belong to --method plnd"),
        (dict(method="plnd", top_k=0.1, threshold=1.0), "two rules"),
        (dict(method="lape", parts=("ffn", "q")), "LAPE looks at gates"),
        (dict(method="plnd", parts=("gate",)), "--parts gate"),
        (dict(method="plnd", parts=()), "--parts"),
        (dict(top=0), "--top 0"),
        (dict(share=0.0), "--share 0.0 is not a share"),
        (dict(percentile=1.5), "--percentile 1.5 is not a share"),
        (dict(method="plnd", min_docs=0.0), "--min-docs 0.0 is not a share"),
        (dict(method="plnd", threshold=float("inf")), "--threshold inf"),
        (dict(method="plnd", core=1), "--core 1"),
        (dict(method="plnd", core="some"), "--core some"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        SelectOptions(**options)


def written(made: StatsTable, found: Selection, path: Any, **changes: Any) -> NeuronSet:
    sets = {lang: as_weights(made.places, chosen) for lang, chosen in found.sets.items()}
    notes: dict[str, Any] = dict(
        architecture=made.metadata["architecture"], places=made.places, num_parameters=1000, method="plnd",
        thresholds={}, model_digest="m", corpora={},
    )  # fmt: skip
    save_neurons(path, sets, neuron_metadata(**{**notes, **changes}))
    return sets


@pytest.mark.parametrize("places", [llama_places(), fused_places()], ids=["llama", "fused"])
def test_random_has_the_counts_of_its_file_per_language_layer_and_part(places, tmp_path):
    made = table(places=places)
    known = chosen_by(made, "plnd")
    written(made, known, tmp_path / "n")
    random = {seed: chosen_by(made, "random", like=str(tmp_path / "n"), seed=seed) for seed in (1, 2)}
    for lang, chosen in known.sets.items():
        for key, (mask, _) in chosen.items():
            drawn = [random[seed].sets[lang].get(key) for seed in (1, 2)]
            assert [0 if one is None else int(one.mask.sum()) for one in drawn] == [mask.sum()] * 2
    assert random[1].warnings == []
    assert max(jaccard(random[1].sets, random[2].sets).values()) < 0.9
    assert max(jaccard(random[1].sets, known.sets).values()) < 0.9
    assert jaccard(random[1].sets, chosen_by(made, "random", like=str(tmp_path / "n"), seed=1).sets)["th"] == 1.0


def test_random_of_another_architecture_or_of_parts_not_measured_is_refused(tmp_path):
    made = table()
    known = chosen_by(made, "plnd")
    written(made, known, tmp_path / "n")
    with pytest.raises(UsageError, match=r"it has neurons of model.layers.0.self_attn.k_proj, the statistics only of"):
        chosen_by(table(places=llama_places(parts="f")), "random", like=str(tmp_path / "n"))
    written(made, known, tmp_path / "other", architecture={"model_type": "gemma"})
    with pytest.raises(SeaError, match="another architecture: they are of .*gemma.*llama"):
        chosen_by(made, "random", like=str(tmp_path / "other"))


def test_random_like_neurons_that_are_in_some_of_their_weights_only_tells_so():
    made = table()
    sets = {"th": as_weights(made.places, chosen_by(made, "plnd").sets["th"])}
    del sets["th"]["model.layers.0.mlp.gate_proj"]
    number = len(sets["th"]["model.layers.0.mlp.up_proj"].indices)
    told = random_selection(made.places, sets, SelectOptions(method="random", like="n")).warnings
    assert len(told) == 1
    assert f"th: {number} neurons are only in some of their weights in n" in told[0]


def test_choosing_from_a_file_needs_no_torch(tmp_path):
    with open(tmp_path / "s", "wb") as stream:
        save_stats(stream, table())
    program = f"""
import sys
sys.modules["torch"] = sys.modules["transformers"] = None  # an import of either fails
from seatools.engine.neurons import neuron_metadata, save_neurons
from seatools.lsn_detect import heat_map
from seatools.lsn_detect.neuron_weights import as_weights
from seatools.lsn_detect.report import report_rows
from seatools.lsn_detect.select import SelectOptions, select
from seatools.lsn_detect.table import load_stats
table = load_stats([{str(tmp_path / "s")!r}])
for method in {METHODS!r}:
    like = "neurons" if method == "random" else None
    found = select(table, SelectOptions(method=method, share=0.2, percentile=0.7, like=like))
    report_rows(table.places, found.sets, method=method, num_parameters=1)
    sets = {{lang: as_weights(table.places, chosen) for lang, chosen in found.sets.items()}}
    notes = neuron_metadata(architecture=table.metadata["architecture"], places=table.places, num_parameters=1,
                            method=method, thresholds={{}}, model_digest="", corpora={{}})
    save_neurons("neurons", sets, notes)
assert not [name for name in sys.modules if name.partition(".")[0] in ("torch", "transformers")
            and sys.modules[name] is not None]
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert load_neurons(tmp_path / "neurons")[1]["method"] == "random"
