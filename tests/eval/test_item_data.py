"""Data files as they are published: JSON lists, SQuAD's tree, tables with and without header, languages."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from seatools.eval.item_data import read_data
from seatools.eval.read_items import read_items
from seatools.eval.sources import name_sources
from seatools.eval.task_file import load_task
from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Rejects


def read(name: str, *arguments: object, rejects: Rejects | None = None) -> Any:
    return read_data(name_sources([str(a) for a in arguments]), {}, [load_task(name)], rejects=rejects or Rejects())


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


M3EXAM = {"question_text": "Which?", "options": ["1. a", "2. b"], "answer_text": "2"}


def test_a_json_list_is_read_by_number(tmp_path):
    path = write(tmp_path / "thai-questions-test.json", json.dumps([M3EXAM, M3EXAM | {"answer_text": "9"}]))
    with pytest.raises(BadRecord) as caught:
        read_items(load_task("m3exam"), read("m3exam", f"th={path}"), num_shots=0)
    assert caught.value.where == f"{path}:2"
    rejects = Rejects("skip")
    assert len(read_items(load_task("m3exam"), read("m3exam", f"th={path}"), num_shots=0, rejects=rejects)) == 1


def test_a_json_file_with_a_line_for_each_object_is_jsonl_and_so_is_a_packed_one(tmp_path):
    text = json.dumps(M3EXAM) + "\n" + json.dumps(M3EXAM) + "\n"
    (found,) = read("m3exam", "th=" + str(write(tmp_path / "a.json", text)))
    assert [record.line for record in found.records] == [1, 2]
    packed = tmp_path / "b.json.gz"
    packed.write_bytes(gzip.compress(json.dumps([M3EXAM] * 3).encode()))
    assert len(read("m3exam", f"th={packed}")[0].records) == 3


def test_the_tree_of_squad_is_unpacked_with_its_passages(tmp_path):
    def answer(text: str, id_: str) -> dict:
        return {"id": id_, "question": f"Who {id_}?", "answers": [{"text": text, "answer_start": 0}]}

    tree = {"version": "1.1", "data": [{"title": "t", "paragraphs": [
        {"context": "Ann ran.", "qas": [answer("Ann", "a")]},
        {"context": "Bob sat.", "qas": [answer("Bob", "b"), answer("Bob sat", "c")]},
    ]}]}  # fmt: skip
    found = read_items(load_task("xquad"), read("xquad", f"en={write(tmp_path / 'x.json', json.dumps(tree))}"))
    assert [(item.id, item.expected) for item in found] == [
        ("a", {"reference": ["Ann"]}), ("b", {"reference": ["Bob"]}), ("c", {"reference": ["Bob sat"]}),
    ]  # fmt: skip
    assert "Context: Bob sat.\n" in found[2].prompt
    assert found[2].where.endswith("x.json:1 (data[0].paragraphs[1].qas[1])")
    assert [item.index for item in found] == [0, 1, 2]
    del tree["data"][0]["paragraphs"][1]["qas"][1]["answers"]  # type: ignore[index]
    with pytest.raises(BadRecord, match='"answers" is missing') as caught:
        read_items(load_task("xquad"), read("xquad", f"en={write(tmp_path / 'x.json', json.dumps(tree))}"))
    assert "paragraphs[1].qas[1]" in caught.value.where


def test_tables_with_a_header(tmp_path):
    csv = write(tmp_path / "n.csv", 'id,text,label\r\n1,"Enak, sekali ""banget""",positive\r\n2,"a\nb",neutral\r\n')
    found = read_items(load_task("nusax"), read("nusax", f"id={csv}"))
    assert [(item.id, item.gold) for item in found] == [("1", 2), ("2", 1)]
    assert 'Teks: Enak, sekali "banget"\n' in found[0].prompt
    assert found[1].where == f"{csv}:3"
    tsv = write(
        tmp_path / "s.tsv", 'index_id\tcategory\ttext\n7\ttravel\t"He said ""go""."\n8\tsports\t"Win" or lose\n'
    )
    found = read_items(load_task("sib200"), read("sib200", f"en={tsv}"))
    assert [item.prompt.split("\n")[1] for item in found] == ['Text: He said "go".', 'Text: "Win" or lose']


def test_tables_without_a_header(tmp_path):
    tsv = write(tmp_path / "mgsm_th.tsv", "เป็ด 3 ตัว\t3\nมี $2,000\t2,000\n")
    found = read_items(load_task("mgsm"), read("mgsm", f"th={tsv}"), num_shots=0)
    assert [(item.expected["reference"], item.where) for item in found] == [("3", f"{tsv}:1"), ("2,000", f"{tsv}:2")]
    csv = write(tmp_path / "mmlu.csv", "Sky?,red,green,blue,grey,C\n")
    (item,) = read_items(load_task("mmlu"), read("mmlu", f"en={csv}"))
    assert (item.prompt, item.gold) == ("Sky?\nA. red\nB. green\nC. blue\nD. grey\nAnswer:", 2)


def test_broken_tables_are_named_by_line(tmp_path):
    tsv = write(tmp_path / "a.tsv", "question\tanswer_number\nq\t1\nq\nq\t2\t3\n")
    with pytest.raises(BadRecord, match="1 cells, there are 2 columns") as caught:
        read("mgsm", f"th={tsv}")
    assert caught.value.where == f"{tsv}:3"
    rejects = Rejects("skip")
    assert len(read("mgsm", f"th={tsv}", rejects=rejects)[0].records) == 1 and rejects.counts == {"bad table": 2}
    twice = write(tmp_path / "b.tsv", "question\tquestion\tanswer_number\na\tb\tc\n")
    with pytest.raises(SeaError, match="names a column twice"):
        read("mgsm", f"th={twice}")
    torn = write(tmp_path / "c.csv", 'id,text,label\n1,"x,positive\n')
    with pytest.raises(SeaError, match="broken CSV"):
        read("nusax", f"id={torn}")


@pytest.mark.parametrize(
    "text, words",
    [
        ("[1, 2", "broken JSON"),
        ("3", "neither a JSON list nor an object"),
        ("[]", "no records"),
        ("[3]", "a JSON int, not an object"),
        ('[{"a": ' + "[" * 300 + "]" * 300 + "}]", "nested more than 254 levels deep"),
        ("", "broken JSON"),
    ],
)
def test_broken_json_files(tmp_path, text, words):
    with pytest.raises(SeaError, match=words):
        read("m3exam", f"th={write(tmp_path / 'a.json', text)}")


def test_files_that_are_not_utf8(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"question\tanswer_number\n\xff\t1\n")
    with pytest.raises(SeaError, match="invalid UTF-8"):
        read("mgsm", f"th={tmp_path / 'a.tsv'}")


def test_rows_that_say_their_language_are_sorted_by_it(tmp_path):
    rows = [{"question": "q", "choices": ["a", "b"], "answer": 0, "lang": lang} for lang in ("th", "vi", "th")]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [(s.lang, len(s.records)) for s in read("choice", path)] == [("th", 2), ("vi", 1)]
    assert [(s.lang, len(s.records)) for s in read("choice", f"tha_Thai={path}")] == [("tha_Thai", 2)]
    with pytest.raises(SeaError, match='no rows of the language "lo"; there are th, vi'):
        read("choice", f"lo={path}")
    plain = write(tmp_path / "b.jsonl", json.dumps({"question": "q", "choices": ["a", "b"], "answer": 0}))
    assert [s.lang for s in read("choice", plain)] == ["und"]
