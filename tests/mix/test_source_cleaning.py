"""The flags of `sea clean` inside `sea mix`."""

from __future__ import annotations

import json

import orjson
import pytest

from seatools.mix.document_store import DocumentStore
from seatools.mix.options import MixOptions
from seatools.mix.source_cleaning import SourceCleaning
from seatools.streams.messages import Messages
from seatools.streams.records import BadRecord, Rejects
from seatools.streams.source_specs import parse_sources
from seatools.text.cleaning.check_pool import CheckPool
from seatools.text.cleaning.options import CleaningOptions
from seatools.text.cleaning.survivor_spool import SurvivorSpool

THAI = "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทยและมีประชากรมากที่สุด"
LAO = "ນະຄອນຫຼວງວຽງຈັນເປັນເມືອງຫຼວງຂອງປະເທດລາວແລະມີພົນລະເມືອງຫຼາຍທີ່ສຸດ"


def write(path, records):
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


@pytest.fixture
def sources(tmp_path):
    th = write(tmp_path / "th.jsonl", [{"text": f"{THAI} {i}", "k": i} for i in range(4)] + [{"text": "English here"}])
    lo = write(tmp_path / "lo.jsonl", [{"text": f"{LAO} {i}"} for i in range(3)] + [{"text": f"{THAI} 0"}])
    return f"th={th}", f"lo={lo}"


def mixed(sea, tmp_path, *arguments):
    out = tmp_path / "out.jsonl"
    result = sea("mix", *arguments, "--unit", "docs", "--on-exhaust", "renormalize", "--force", "-o", out)
    assert result.code == 0, result.stderr
    return [json.loads(line) for line in out.read_text().splitlines()], json.loads((tmp_path / "out.jsonl.manifest.json").read_text())  # fmt: skip # noqa: E501


def test_documents_in_another_language_than_their_source_leave_and_are_told(sea, tmp_path, sources):
    bad = tmp_path / "bad.jsonl"
    rows, manifest = mixed(sea, tmp_path, *sources, "--lang-check", "--rejects", bad)
    assert sorted(row["text"] for row in rows) == sorted([f"{THAI} {i}" for i in range(4)] + [f"{LAO} {i}" for i in range(3)])  # fmt: skip # noqa: E501
    rejected = [json.loads(line) for line in bad.read_text().splitlines()]
    assert [(row["text"], row["reject"]["source"]) for row in rejected] == [("English here", "th"), (f"{THAI} 0", "lo")]
    assert manifest["rejects"] == {"lang_check.v1": 2}
    assert manifest["counts"]["cleaning"]["lo"] == {"seen": 4, "kept": 3, "changed": 0, "rejected": {"lang_check.v1": 1}}  # fmt: skip # noqa: E501
    assert {entry["path"] for entry in manifest["outputs"]} == {str(tmp_path / "out.jsonl"), str(bad)}


@pytest.mark.parametrize("kind", ["exact", "near"])
def test_duplicates_are_found_across_sources(sea, tmp_path, sources, kind):
    rows, manifest = mixed(sea, tmp_path, *sources, "--dedup", kind)
    assert sum(row["text"] == f"{THAI} 0" for row in rows) == 1
    sources_of = {row["source"]: row["docs"] for row in manifest["counts"]["sources"]}
    assert sources_of["lo"] < 4 and {entry["path"] for entry in manifest["inputs"]} == {
        argument.partition("=")[2] for argument in sources
    }
    # Texts that differ in one digit are near duplicates of one another.
    assert len(rows) == (8 if kind == "exact" else 3)


def test_what_needs_no_repair_leaves_byte_for_byte_and_what_does_is_counted_repaired(sea, tmp_path):
    decomposed, line = "Vie\u0323\u0302t", b'{ "k":1.50, "text" : "caf\xc3\xa9"}'
    path = tmp_path / "vi.jsonl"
    path.write_bytes(line + b"\n" + orjson.dumps({"text": decomposed, "z": 1}) + b"\n")
    result = sea("mix", f"vi={path}", "--unit", "bytes", "--normalize", "nfc", "--shuffle", "none")
    assert result.stdout.splitlines() == [line, '{"text":"Việt","z":1}'.encode()]
    plan = sea("mix", f"vi={path}", "--unit", "bytes", "--normalize", "nfc", "--dry-run", "--json")
    assert json.loads(plan.stdout)["bytes"] == len("caféViệt".encode())


def test_a_source_of_which_nothing_is_left_is_named_with_the_reason(sea, tmp_path, sources):
    out = tmp_path / "out.jsonl"
    for more in ([], ["--dedup", "near"]):
        result = sea("mix", *sources, "--unit", "docs", "--lang", "km", *more, "-o", out)
        assert result.code == 1 and not out.exists()
        assert "source th: cleaning rejects all of its 5 documents (lang.v1 5)" in result.stderr


def test_stdin_is_cleaned_too_and_cleaning_comes_before_joining(sea, tmp_path, byte_tokenizer, template_path):
    chat = [{"messages": [{"role": "user", "content": f"Hi {i}"}, {"role": "assistant", "content": "Yes"}]} for i in (1, 1, 2)]  # fmt: skip # noqa: E501
    stdin = b"".join(orjson.dumps(record) + b"\n" for record in chat)
    result = sea(
        "mix", "c=-", "--unit", "docs", "--dedup", "exact", "--join-turns", "2", "--tokenizer", byte_tokenizer,
        "--chat-template", template_path, stdin=stdin,
    )  # fmt: skip
    assert result.code == 0, result.stderr
    asked = [m["content"] for line in result.stdout.splitlines() for m in json.loads(line)["messages"][::2]]
    assert sorted(asked) == ["Hi 1", "Hi 2"]


@pytest.mark.parametrize("dedup", ["exact", "near"])
def test_broken_lines_and_rows_that_tokenising_refuses_are_both_in_the_plan(
    sea, tmp_path, byte_tokenizer, template_path, dedup
):
    turns = [{"role": "user", "content": "Hi there, how are you?"}, {"role": "assistant", "content": "Well"}]
    path = write(tmp_path / "c.jsonl", [{"messages": turns}, {"messages": [turns[0]]}])
    path.write_bytes(path.read_bytes() + b"{broken\n")
    _, manifest = mixed(
        sea, tmp_path, f"c={path}", "--dedup", dedup, "--on-error", "skip", "--tokenizer", byte_tokenizer,
        "--chat-template", template_path,
    )  # fmt: skip
    assert manifest["counts"]["sources"][0]["rejected"] == sum(manifest["rejects"].values()) == 2


def test_a_reading_that_fails_closes_what_was_opened(tmp_path, sources, monkeypatch):
    """`__exit__` does not run for a `with` whose `__enter__` raised."""
    closed = []
    for opened in (CheckPool, SurvivorSpool):
        monkeypatch.setattr(opened, "close", lambda self, name=opened.__name__: closed.append(name))
    (tmp_path / "bad.jsonl").write_bytes(b'{"text":"one"}\n{broken\n')
    specs = tuple(parse_sources([*sources, f"bad={tmp_path}/bad.jsonl"]))
    options = MixOptions(sources=specs, unit="docs", max_epochs=1, cleaning=CleaningOptions(near=0.8))
    with DocumentStore() as store:
        cleaning = SourceCleaning(options, store, Rejects(), None, workers=1, messages=Messages(quiet=True))
        with pytest.raises(BadRecord, match="broken JSON"), cleaning:
            raise AssertionError("it was read")
    assert closed == ["CheckPool", "SurvivorSpool"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--rejects", "bad.jsonl"), "nothing is cleaned"),
        (("--dedup", "exact", "--rejects", "-"), "the rejects file is the output"),
        (("--dedup", "fuzzy"), "unknown --dedup"),
    ],
)
def test_flags_that_do_not_go_together(sea, tmp_path, sources, flags, message):
    result = sea("mix", *sources, "--unit", "docs", *flags, "-o", tmp_path / "out.jsonl")
    assert result.code == 2 and message in result.stderr and not (tmp_path / "out.jsonl").exists()
