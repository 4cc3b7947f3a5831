"""What a source holds: its stages, its languages, its parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mix_sources import index_of, write_records

from seatools.mix.counting import Counts, count_records
from seatools.mix.document_store import DocumentStore
from seatools.mix.index_sidecar import Sidecars
from seatools.streams.errors import SeaError
from seatools.streams.records import Rejects, dump
from seatools.text.documents import load_documents


def shouted(records):
    """Every second record in capitals, every fifth left out, one made at the end."""
    for number, record in enumerate(records):
        if number % 5 == 4:
            continue
        value = {**record.value, "text": record.value["text"].upper()} if number % 2 else record.value
        yield record if number % 2 == 0 else replace(record, value=value, raw=dump(value))
        last = record
    made = {"text": "made", "lang": "xx"}
    yield replace(last, value=made, raw=dump(made))


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_stages_change_what_is_counted_and_emitted(tmp_path, name):
    texts = [f"text {i}" for i in range(10)]
    write_records(tmp_path / "a.jsonl", texts)
    (tmp_path / "a.txt").write_text("\n".join(texts))
    with DocumentStore() as store:
        index = index_of(tmp_path / name, store, stages=[shouted])
        lines = [json.loads(index.line(doc)) for doc in range(len(index))]
        expected = [text.upper() if i % 2 else text for i, text in enumerate(texts) if i % 5 != 4]
        assert [line["text"] for line in lines] == [*expected, "made"]
        assert [index.langs[i] for i in index.lang_ids] == [""] * len(expected) + ["xx"]
        assert index.num_bytes.tolist() == [len(line["text"]) for line in lines]
        assert [file.path for file in index.stored_files] == [str(tmp_path / name)]
        in_place = [store.files[file].path == str(tmp_path / name) for file in index.files]
        assert in_place == [i % 2 == 0 for i in range(10) if i % 5 != 4] + [False]


def test_a_stage_that_makes_a_bad_record_makes_a_reject(tmp_path):
    path = write_records(tmp_path / "a.jsonl", ["one", "two"])
    rejects = Rejects("skip")
    with DocumentStore() as store:

        def emptied(records):
            for record in records:
                keep = record.value["text"] == "one"
                yield record if keep else replace(record, value={"text": ""}, raw=b'{"text":""}')

        index = index_of(path, store, rejects, stages=[emptied])
    assert len(index) == 1 and index.num_rejected == 1 and rejects.counts == {"empty text": 1}


def test_stages_use_no_index(tmp_path, byte_tokenizer):
    documents = load_documents(byte_tokenizer)
    path = write_records(tmp_path / "a.jsonl", ["one", "two"])
    with DocumentStore() as store:
        index_of(path, store, documents=documents, sidecars=Sidecars(documents), stages=[shouted])
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_subset_is_a_source_of_its_own(tmp_path, byte_tokenizer):
    for lang in ("th", "en"):
        write_records(tmp_path / f"{lang}.jsonl", [f"{lang}{i}" for i in range(4)], lang=lang)
    with DocumentStore() as store:
        index = index_of(tmp_path, store, documents=load_documents(byte_tokenizer))
        thai = index.subset("a.th", np.flatnonzero(index.lang_ids == index.langs.index("th")))
        assert thai.spec.name == "a.th" and thai.spec.glob == index.spec.glob and len(thai) == 4
        assert [json.loads(thai.line(doc))["text"] for doc in range(4)] == [f"th{i}" for i in range(4)]
        assert thai.units("tokens").tolist() == [5] * 4 and thai.units("docs").tolist() == [1] * 4
        assert [Path(file.path).name for file in thai.stored_files] == ["th.jsonl"]
        with pytest.raises(IndexError):
            thai.line(4)


def test_a_lang_that_is_no_string_is_none(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text":"a","lang":3}\n{"text":"b","lang":null}\n{"text":"c","lang":"my"}\n')
    with DocumentStore() as store:
        index = index_of(tmp_path / "a.jsonl", store)
        assert [index.langs[i] for i in index.lang_ids] == ["", "", "my"]


RECORDS = [
    {"text": "plain"},
    {"text": "ภาษาไทย", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "abc"}]},
    {"prompt": "q", "completion": "abc", "text": "not this"},
    {"prompt": "q", "text": "this"},
    {"messages": [{"role": "user", "content": "nothing to train"}]},
    {"text": "lone \ud800"},
    {"text": ""},
    {"text": " "},
    {"text": 3},
    {},
]


@pytest.mark.parametrize("name", ["byte", "gpt2-tiktoken", "mistral-v1-spm", "t5-v1_1-spm-unigram"])
@pytest.mark.parametrize("add_eos", [True, False])
def test_counts_are_those_of_the_encoded_documents(shared, byte_tokenizer, template_path, name, add_eos):
    path = byte_tokenizer if name == "byte" else shared / "tokenizers" / name
    documents = load_documents(path, chat_template=template_path, add_eos=add_eos)
    unk = documents.tokenizer.unk_id if name in ("mistral-v1-spm", "t5-v1_1-spm-unigram") else None
    for record, found in zip(RECORDS, count_records(documents, RECORDS, workers=1), strict=True):
        (doc,) = documents.encode([record])
        if isinstance(doc, SeaError):
            assert isinstance(found, SeaError) and str(found) == str(doc)
        else:
            assert found == Counts(len(doc.ids), doc.num_targets, int((doc.ids == unk).sum()) if unk is not None else 0)
