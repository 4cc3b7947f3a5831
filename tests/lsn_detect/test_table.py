"""The statistics file: written and read, merged, and what happens to files that are damaged or do not belong."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_statistics import documents, fused_places, language, llama_places, metadata, table

from seatools.lsn_detect.table import LanguageStats, StatsTable, load_stats, merge, save_stats
from seatools.streams.errors import SeaError
from seatools.streams.tensors import load_tensors, save_tensors

PLACES = llama_places()


def saved(made: StatsTable, path: Path) -> Path:
    with open(path, "wb") as stream:
        save_stats(stream, made)
    return path


def assert_same(first: LanguageStats, second: LanguageStats, rtol: float = 0.0) -> None:
    assert first.tokens.tolist() == second.tokens.tolist()
    assert first.docs.tolist() == second.docs.tolist()
    assert (first.corpora, first.shard, first.files, first.warnings) == (
        second.corpora, second.shard, second.files, second.warnings,
    )  # fmt: skip
    assert first.values.keys() == second.values.keys()
    for key, arrays in first.values.items():
        assert arrays.keys() == second.values[key].keys()
        for name, array in arrays.items():
            other = second.values[key][name]
            assert array.dtype == other.dtype
            np.testing.assert_allclose(array, other, rtol=rtol if array.dtype.kind == "f" else 0, atol=0)


@pytest.mark.parametrize("places", [PLACES, fused_places()], ids=["llama", "fused"])
def test_what_is_saved_is_what_is_loaded(places, tmp_path):
    made = table(places=places)
    made.langs["lo"].warnings.append("ວ່າແນວໃດ")
    loaded = load_stats([saved(made, tmp_path / "s")])
    assert list(loaded.langs) == ["en", "lo", "th"]
    assert (loaded.places, loaded.metadata) == (made.places, made.metadata)
    for lang, stats in made.langs.items():
        assert_same(stats, loaded.langs[lang])


def test_the_same_table_gives_the_same_bytes():
    streams = io.BytesIO(), io.BytesIO()
    save_stats(streams[0], table())
    made = table()
    save_stats(streams[1], StatsTable(dict(reversed(made.langs.items())), made.places, made.metadata))
    assert streams[0].getvalue() == streams[1].getvalue()


def test_one_more_language_leaves_the_bytes_of_the_others_alone(tmp_path):
    for name, langs in (("two", "th en"), ("three", "th en lo")):
        saved(table(langs), tmp_path / name)
    two, three = (load_tensors(tmp_path / name)[0] for name in ("two", "three"))
    assert {name for name in three if name not in two} == {name for name in three if name.startswith("lo/")}
    assert all(array.tobytes() == three[name].tobytes() for name, array in two.items())
    apart = [saved(table(lang), tmp_path / lang) for lang in ("th", "en")]
    assert list(load_stats(apart).langs) == ["th", "en"]


def shards(number: int, tmp_path: Path, *, contexts: int = 31) -> tuple[LanguageStats, list[Path]]:
    """One run over all documents, and the files of `number` shards of them."""
    docs = documents(PLACES, contexts, seed=5)
    paths = []
    for i in range(number):
        stats = language(docs[i::number], PLACES, shard=f"{i}/{number}")
        paths.append(saved(StatsTable({"th": stats}, PLACES, metadata()), tmp_path / f"{i}-of-{number}"))
    return language(docs, PLACES), paths


@pytest.mark.parametrize("number", [2, 3])
def test_merged_shards_are_one_run(number, tmp_path):
    whole, paths = shards(number, tmp_path)
    merged = load_stats(paths).langs["th"]
    assert_same(whole, merged, rtol=1e-12)
    assert_same(merged, load_stats(paths[::-1]).langs["th"])  # whatever the order, to the bit


def test_missing_shards_are_known_by_name(tmp_path):
    _, paths = shards(4, tmp_path)
    merged = load_stats([paths[3], paths[1]])
    assert merged.langs["th"].shard == "1,3/4"
    assert merged.langs["th"].missing_shards == ["0/4", "2/4"]
    again = load_stats([saved(merged, tmp_path / "merged"), paths[0], paths[2]])
    assert again.langs["th"].missing_shards == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard": None}, "th is there twice"),
        ({"shard": "0/2"}, "th: shard 0/2 is there twice"),
        ({"shard": "1/3"}, "shards of different texts: 0/2 of digest and 1/3 of digest"),
        ({"shard": "1/2", "corpora": "another"}, "shards of different texts: 0/2 of digest and 1/2 of another"),
    ],
)
def test_a_language_twice_is_refused_unless_as_shards_of_one_text(changes, message, tmp_path):
    stats = language(documents(PLACES, 4, seed=5), PLACES, shard="0/2")
    paths = [
        saved(StatsTable({"th": one}, PLACES, metadata()), tmp_path / name)
        for name, one in (("first", stats), ("second", replace(stats, **changes)))
    ]
    with pytest.raises(SeaError, match=message) as error:
        load_stats(paths)
    assert all(str(path) in str(error.value) for path in paths)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_digest": "x" * 64}, "different models: mmmmmmmmmmmm and xxxxxxxxxxxx"),
        ({"tokenizer_digest": "x" * 64}, "different tokenizers: tttttttttttt and xxxxxxxxxxxx"),
        ({"options": metadata()["options"] | {"qk": "exact"}}, "different options: qk closed and exact"),
        ({"architecture": {"model_type": "gemma"}}, "different architectures: model_type llama and gemma"),
    ],
)
def test_statistics_of_something_else_do_not_merge(changes, message):
    first, second = table("th"), table("en")
    second.metadata = metadata(**changes)
    with pytest.raises(SeaError, match=message):
        merge(first, second)


def test_statistics_of_other_parts_do_not_merge():
    with pytest.raises(SeaError, match=r"different neurons \(ffn,q,k,v and ffn\)"):
        merge(table("th"), table("en", places=llama_places(parts="f")))


def test_a_cut_file_is_refused_at_any_length(tmp_path):
    content = saved(table("th en", 4), tmp_path / "s").read_bytes()
    for length in (0, 5, 8, 200, len(content) // 2, len(content) - 1):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(SeaError, match=f"{tmp_path}/cut"):
            load_stats([tmp_path / "cut"])


def test_a_changed_byte_of_any_statistic_is_found(tmp_path):
    content = bytearray(saved(table("th en", 4), tmp_path / "s").read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    for at in np.random.default_rng(0).integers(start, len(content), 20):
        damaged = content.copy()
        damaged[at] ^= 4
        (tmp_path / "d").write_bytes(damaged)
        with pytest.raises(SeaError, match=f"{tmp_path}/d: the statistics of (th|en) are damaged"):
            load_stats([tmp_path / "d"])


def rewritten(path: Path, change: Any) -> None:
    tensors, notes = load_tensors(path)
    change(tensors, notes)
    save_tensors(path, tensors, notes)


CHANGES = {
    "foreign": (lambda tensors, notes: notes.update(format="pt"), "not a statistics file"),
    "later": (lambda tensors, notes: notes.update(format_version="9"), "statistics format 9; this version reads 1"),
    "layout": (lambda tensors, notes: notes.update(layout="[]"), "layout"),
    "options": (lambda tensors, notes: notes.update(options="{}"), "its metadata is not that"),
    "langs": (lambda tensors, notes: notes.update(langs="[1]"), "is of no language"),
    "none": (lambda tensors, notes: (notes.update(langs="{}"), tensors.clear()), "holds no language"),
    "number": (lambda tensors, notes: notes.update(num_parameters="many"), "metadata"),
    "lacks": (lambda tensors, notes: notes.pop("model_digest"), "model_digest"),
    "shape": (lambda tensors, notes: tensors.update({"th/0/q/least": np.zeros((2, 3))}), r"not float64 \[2, 24\]"),
    "dtype": (lambda tensors, notes: tensors.update({"th//docs": np.zeros(2, np.int32)}), "is int32"),
    "place": (lambda tensors, notes: tensors.update({"th/7/q/least": np.zeros((2, 24))}), "no statistic of this model"),
    "tokens": (lambda tensors, notes: tensors.pop("th//tokens"), "its counts"),
    "missing": (lambda tensors, notes: [tensors.pop(n) for n in list(tensors) if "/1/ffn/" in n], "th/1/ffn"),
    "gone": (lambda tensors, notes: tensors.pop("th/1/ffn/least"), "damaged"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_foreign_and_damaged_files_are_refused_by_name(name, tmp_path):
    path = saved(table("th", 4), tmp_path / "s")
    change, message = CHANGES[name]
    rewritten(path, change)
    with pytest.raises(SeaError, match=message) as error:
        load_stats([path])
    assert str(path) in str(error.value)


def test_a_neuron_file_and_a_missing_file_are_refused(tmp_path):
    save_tensors(tmp_path / "n", {}, {"format": "sea-neurons"})
    for path, message in ((tmp_path / "n", "not a statistics file"), (tmp_path / "none", "No such file")):
        with pytest.raises(SeaError, match=message):
            load_stats([path])


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_numbers_that_cannot_be_are_not_written(value):
    made = table("th", 4)
    made.langs["th"].values[0, "ffn"]["importance"][1, 3] = value
    with pytest.raises(SeaError, match="th/0/ffn/importance has numbers that are negative or NaN"):
        save_stats(io.BytesIO(), made)
