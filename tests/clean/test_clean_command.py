"""`sea clean` as a user runs it."""

from __future__ import annotations

import hashlib
import json
import sys
import types

import numpy as np
import pytest

THAI = "ประเทศไทยมีประชากรประมาณหกสิบหกล้านคน และมีกรุงเทพมหานครเป็นเมืองหลวงของประเทศ"
LAO = "ປະເທດລາວມີປະຊາກອນປະມານເຈັດລ້ານຄົນ ແລະມີນະຄອນຫຼວງວຽງຈັນເປັນເມືອງຫຼວງ"


def lines(*values):
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


def test_a_pipe_passes_good_records_byte_for_byte(sea, shared):
    given = (shared / "data/mono/km_prompts.jsonl").read_bytes()
    result = sea("clean", stdin=given)
    assert (result.code, result.stdout) == (0, given)
    assert result.stderr == "2,906 documents: 2,906 kept, 0 of them changed; 0 rejected\n"


def test_nfc_is_the_default_and_only_the_text_changes(sea):
    given = b'{ "id":1.50, "text":"cafe\xcc\x81" ,"note":"e\xcc\x81"}\r\n'
    result = sea("clean", stdin=given)
    assert result.stdout == b'{ "id":1.50, "text":"caf\xc3\xa9" ,"note":"e\xcc\x81"}\n'
    assert sea("clean", "--normalize", "none", stdin=given).stdout == given.replace(b"\r", b"")


def test_rejects_and_manifest(sea, tmp_path):
    given = lines({"text": THAI, "id": 1}, {"text": LAO, "lang": "th"}, {"text": THAI}, {"text": "x" * 300})
    result = sea(
        "clean", "-", "--lang-check", "--dedup", "exact", "--quality", "-o", tmp_path / "good.jsonl",
        "--rejects", tmp_path / "bad.jsonl", stdin=given,
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert (tmp_path / "good.jsonl").read_bytes() == lines({"text": THAI, "id": 1})
    bad = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_bytes().splitlines()]
    assert [row["reject"]["reason"] for row in bad] == ["lang_check.v1", "exact_duplicate.v1", "repeated_ngrams.v1"]
    assert bad[0]["reject"] == {
        "reason": "lang_check.v1", "value": "lo", "limit": "th", "source": "-", "where": "stdin:2"
    }  # fmt: skip
    manifest = json.loads((tmp_path / "good.jsonl.manifest.json").read_bytes())
    assert manifest["rejects"] == {"exact_duplicate.v1": 1, "lang_check.v1": 1, "repeated_ngrams.v1": 1}
    assert manifest["counts"]["-"] == {
        "seen": 4, "kept": 1, "changed": 0, "undeclared": 3, "rejected": manifest["rejects"]
    }  # fmt: skip
    assert manifest["inputs"] == [{"path": "-", "sha256": hashlib.sha256(given).hexdigest()}]
    assert manifest["options"]["cleaning"]["exact"] is True


def test_labels_name_the_language_of_a_file(sea, tmp_path):
    (tmp_path / "th.txt").write_text(f"{THAI}\n{LAO}\n", encoding="utf-8")
    (tmp_path / "lo.txt").write_text(f"{LAO}\n", encoding="utf-8")
    result = sea("clean", f"th={tmp_path}/th.txt", f"lo={tmp_path}/lo.txt", "--lang-check", "--write-lang")
    assert [json.loads(line)["lang"] for line in result.stdout.splitlines()] == ["th", "lo"]
    assert "lang_check.v1 1" in result.stderr


def test_near_duplicates_of_the_whole_input(sea, tmp_path):
    texts = [f"{THAI} {LAO} {number}" for number in range(3)]
    given = lines(*({"text": text} for text in (*texts, THAI)))
    result = sea("clean", "--dedup", "near:0.7", stdin=given)
    assert result.code == 0, result.stderr
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == [texts[0], THAI]


def test_zawgyi_news_becomes_unicode(sea, shared):
    result = sea("clean", shared / "data/mono/my_voa.jsonl", "--normalize", "zawgyi", "--limit", 3)
    from seatools.text.zawgyi import is_zawgyi

    assert [is_zawgyi(json.loads(line)["text"]) for line in result.stdout.splitlines()] == [False] * 3


def test_planted_benchmark_text_is_found(sea, shared):
    task = shared / "data/xquad/th.jsonl"
    row = json.loads(task.read_text(encoding="utf-8").split("\n")[0])
    given = lines({"text": f"{THAI} {row['context'][:200]}"}, {"text": THAI})
    result = sea("clean", "--decontaminate", task, stdin=given)
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == [THAI]


def test_dry_run_counts_and_writes_nothing(sea, tmp_path):
    result = sea(
        "clean", "--dry-run", "-o", tmp_path / "o.jsonl", "--rejects", tmp_path / "r.jsonl", "--lang", "th",
        stdin=lines({"text": THAI}, {"text": LAO}),
    )  # fmt: skip
    assert (result.code, result.stdout, list(tmp_path.iterdir())) == (0, b"", [])
    assert "1 kept" in result.stderr and "nothing is written" in result.stderr


def test_scores_are_asked_of_the_model_once_the_input_is_read(sea, shared, monkeypatch):
    """The command without torch; a model that is real: tests/engine/test_deferred_scores.py."""
    asked = {}

    def score_documents(model, texts, **options):
        asked.update(options, model=model, texts=list(texts))
        return np.array([3, 1, 2], np.float32)

    stand_in = types.ModuleType("document_scores")
    stand_in.score_documents = score_documents
    monkeypatch.setitem(sys.modules, "seatools.engine.document_scores", stand_in)
    model = str(shared / "models/stories260K")
    given = lines({"text": "first"}, {"text": "second"}, {"text": "third"})
    result = sea("clean", "--score-with", model, "--score-quantile", "0.67", "--device", "cpu", "-q", stdin=given)
    assert result.code == 0, result.stderr
    assert result.stdout == lines({"text": "second"}, {"text": "third"})
    assert (asked["model"], asked["texts"]) == (model, ["first", "second", "third"])
    assert (asked["device"], asked["quiet"], asked["tokenizer"].vocab_size) == ("cpu", True, 512)


def test_a_deeply_nested_record_is_repaired_like_any_other(sea, tmp_path):
    deep = b"[" * 1000 + b"]" * 1000
    given = b'{"deep":' + deep + b',"text":"cafe\xcc\x81","lang":""}\n'
    result = sea("clean", "--write-lang", "--rejects", tmp_path / "bad.jsonl", "--lang", "vi,fr", stdin=given)
    assert (result.code, result.stdout) == (0, b'{"deep":' + deep + b',"text":"caf\xc3\xa9","lang":""}\n'), (
        result.stderr
    )
    result = sea("clean", "--lang", "th", "--rejects", tmp_path / "bad.jsonl", "--force", stdin=given)
    assert "lang.v1 1" in result.stderr and deep in (tmp_path / "bad.jsonl").read_bytes()


def test_rejects_have_a_manifest_also_when_the_output_goes_to_stdout(sea, tmp_path):
    bad = tmp_path / "bad.jsonl"
    result = sea("clean", "--lang", "th", "--rejects", bad, stdin=lines({"text": THAI}, {"text": LAO}))
    assert result.stdout == lines({"text": THAI})
    manifest = json.loads((tmp_path / "bad.jsonl.manifest.json").read_bytes())
    assert manifest["rejects"] == {"lang.v1": 1} and manifest["counts"]["-"]["kept"] == 1
    assert [row["path"] for row in manifest["outputs"]] == [str(bad)]
    assert manifest["outputs"][0]["sha256"] == hashlib.sha256(bad.read_bytes()).hexdigest()
    assert manifest["inputs"][0]["path"] == "-" and manifest["inputs"][0]["sha256"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--rejects", "OUT", "-o", "OUT"), "the rejects file is the output"),
        (("--rejects", "-"), "the rejects file is the output"),
        (("--score-with", "nowhere"), "nowhere"),
        (("--decontaminate", "nowhere.jsonl"), "no such file"),
        (("--quality", "--quality-rules", "nowhere.toml"), "No such file"),
        (("--lang", "th", "--lang-id", "magic"), "no language identifier"),
    ],
)
def test_bad_flags_leave_what_is_there(sea, tmp_path, args, said):
    out = tmp_path / "out.jsonl"
    args = [str(out) if arg == "OUT" else arg for arg in args]
    if str(out) in args:
        out.write_bytes(b"old")
        args.append("--force")
    result = sea("clean", *args, stdin=lines({"text": THAI}))
    assert result.code in (1, 2) and said in result.stderr, result.stderr
    assert not out.exists() or out.read_bytes() == b"old"


def test_broken_lines_are_another_matter_than_rejects(sea, tmp_path):
    given = b'{"text": \n' + lines({"text": LAO}, {"text": THAI})
    assert sea("clean", stdin=given).code == 1
    result = sea("clean", "--on-error", "skip", "--lang", "th", stdin=given)
    assert result.stdout == lines({"text": THAI})
    assert "broken json 1" in result.stderr and "lang.v1 1" in result.stderr
    kept = sea(
        "clean", "--on-error", "quarantine", "-o", tmp_path / "o.jsonl", "--rejects", tmp_path / "r.jsonl",
        "--lang", "th", stdin=given,
    )  # fmt: skip
    assert kept.code == 0, kept.stderr
    assert len((tmp_path / "o.jsonl.quarantine.jsonl").read_bytes().splitlines()) == 1
    assert len((tmp_path / "r.jsonl").read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["--lang", "Thai"], "--lang-id script does not know Thai\n  fix: did you mean th?\n"),
        (["--lang", "xx"], "--lang-id script does not know xx\n  fix: a code such as th, lo or en; "),
        (["thai=a.jsonl", "--lang-check"], "thai=a.jsonl: thai is no language code\n  fix: did you mean th=a.jsonl?\n"),
        (["-o", "a.txt"], "a.txt: records are JSONL, and .txt is read as something else\n  fix: name it .jsonl\n"),
        (["--rejects", "a.csv.zst"], "a.csv.zst: records are JSONL, and .csv is read as something else"),
    ],
)
def test_what_is_meant_is_told(sea, tmp_path, monkeypatch, argv, error):
    """A language that nobody knows would keep everything, and JSONL in a .txt is read back as text, braces and all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(lines({"text": THAI}))
    result = sea("clean", *argv, stdin=lines({"text": THAI}))
    assert result.code == 2 and result.stderr.startswith(f"error: {error}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_other_spellings_of_a_code_are_codes(sea, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines({"text": THAI}, {"text": LAO}))
    for name in ("tha", "TH", "tha_Thai", "th-TH"):
        result = sea("clean", f"{name}={tmp_path / 'a.jsonl'}", "--lang-check")
        assert (result.code, result.stdout) == (0, lines({"text": THAI})), name


@pytest.mark.parametrize(("given", "query"), [(b'{\n "text": "a"\n}\n', "."), (b'[\n {"text": "a"}\n]\n', "'.[]'")])
def test_json_over_several_lines_is_told_how_to_become_jsonl(sea, given, query):
    assert f"fix: one object a line: jq -c {query} FILE" in sea("clean", stdin=given).stderr
