"""A mix of real Thai and English, counted again from its output."""

from __future__ import annotations

import json

import orjson

from seatools.mix.join_turns import join_turns
from seatools.streams.records import Record
from seatools.text.documents import Documents, load_documents
from seatools.text.tokenizer import load_tokenizer


def test_the_ratio_by_tokens_is_the_one_asked_for(sea, shared, tmp_path):
    mono, tokenizer_path = shared / "data" / "mono", shared / "models" / "stories260K"
    sources = [f"th={mono / 'th_thaigov.jsonl'}:3", f"en={mono / 'en_commonvoice.txt'}:1"]
    options = ["--tokenizer", tokenizer_path, "--limit", 2000, "--budget", "300K", "-o", tmp_path / "out.jsonl"]
    result = sea("mix", *sources, *options)
    assert result.code == 0, result.stderr

    lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
    records = [json.loads(line) for line in lines]
    docs = Documents(load_tokenizer(tokenizer_path)).encode(records)
    tokens = {"th": 0, "en": 0}
    for record, doc in zip(records, docs, strict=True):
        tokens["th" if record.get("lang") == "th" else "en"] += len(doc.ids)
    longest = max(len(doc.ids) for doc in docs)
    assert 300_000 <= sum(tokens.values()) < 300_000 + longest
    assert abs(tokens["th"] - 3 * tokens["en"]) <= longest
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert {row["source"]: row["emitted"] for row in manifest["counts"]["sources"]} == tokens

    thai = set((mono / "th_thaigov.jsonl").read_bytes().splitlines())
    assert all(line in thai for line, record in zip(lines, records, strict=True) if "lang" in record)


def test_every_end_of_turn_of_an_answer_is_trained_with_a_template_that_marks_nothing(shared):
    rows = [json.loads(line) for line in (shared / "data" / "mgsm" / "th.jsonl").read_bytes().splitlines()[:60]]
    singles = []
    for line, row in enumerate(rows, 1):
        answer = {"role": "assistant", "content": str(row["answer_number"])}
        value = {"messages": [{"role": "user", "content": row["question"]}, answer]}
        singles.append(Record(orjson.dumps(value), value, "sft.jsonl", line))
    joined = [record.value for record in join_turns(4, seed=0, name="sft")(iter(singles))]
    assert max(len(value["messages"]) for value in joined) == 8

    documents = load_documents(shared / "tokenizers" / "qwen2")
    assert "generation" not in documents.template.source.replace("add_generation_prompt", "")
    tokenizer = documents.tokenizer
    start, end = tokenizer.special_ids["<|im_start|>"], tokenizer.special_ids["<|im_end|>"]
    assistant, answers = tokenizer.encode("assistant\n"), []
    for doc in documents.encode(joined):
        ids, mask = doc.ids.tolist(), doc.loss_mask.tolist()
        begins = [at for at, id in enumerate(ids) if id == start] + [len(ids)]
        for begin, after in zip(begins, begins[1:], strict=False):
            head = begin + 1 + len(assistant)
            if ids[begin + 1 : head] == assistant:
                stop = ids.index(end, begin)
                assert mask[begin:head] == [0] * (head - begin) and mask[head : stop + 1] == [1] * (stop + 1 - head)
                answers.append(tokenizer.decode(ids[head:stop]))
            else:
                assert not any(mask[begin:after])
    assert sorted(answers) == sorted(str(row["answer_number"]) for row in rows)
