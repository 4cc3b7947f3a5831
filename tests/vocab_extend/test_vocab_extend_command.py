"""`sea vocab-extend` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend.new_token import NewToken, expand


@pytest.fixture
def base(byte_level, tmp_path):
    return byte_level(tmp_path / "base", [(b"t", b"h")], ["<|end|>"])


@pytest.fixture
def thai(tmp_path):
    path = tmp_path / "th.txt"
    path.write_text("กากากา ขากา\nกาขา กากา\n", encoding="utf-8")
    return path


def rows(folder):
    return [json.loads(line) for line in (folder / "new_tokens.jsonl").read_bytes().splitlines()]


def test_writes_the_folder_the_records_and_the_manifest(sea, base, thai, tmp_path):
    result = sea("vocab-extend", base, f"th={thai}", "--add", "5", "-o", tmp_path / "out")
    assert (result.code, result.stdout) == (0, b"")
    assert "th: 1.00 -> " in result.stderr and "5 new tokens (4 characters), ids 258 to 262" in result.stderr
    assert rows(tmp_path / "out")[4] == {
        "token": "à¸ģà¸²",
        "id": 262,
        "bytes": "กา".encode().hex(),
        "pieces": list("กา".encode()),
        "count": 7,
        "origin": "merge",
    }
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["command"] == "vocab-extend" and manifest["options"]["add"] == 5
    assert manifest["counts"]["new_tokens"] == 5 and manifest["counts"]["vocab_size"] == 263
    assert {row["path"] for row in manifest["inputs"]} >= {str(thai), str(base / "vocab.json")}


def test_counts_are_those_of_the_extended_encoding(sea, base, thai, tmp_path):
    sea("vocab-extend", base, thai, "--add", "9", "-o", tmp_path / "out")
    new = load_tokenizer(tmp_path / "out")
    ids = [id for line in thai.read_text(encoding="utf-8").splitlines() for id in new.encode(line)]
    assert [row["count"] for row in rows(tmp_path / "out")] == [ids.count(row["id"]) for row in rows(tmp_path / "out")]


def test_text_that_is_named_twice_or_empty_is_refused(sea, base, thai, tmp_path):
    (tmp_path / "none.txt").write_text("\n")
    for texts, code, message in [((thai, f"th={thai}"), 2, "named twice"), ((tmp_path / "none.txt",), 1, "no text")]:
        result = sea("vocab-extend", base, *texts, "--add", "5", "-o", tmp_path / "out")
        assert result.code == code and message in result.stderr
        assert not (tmp_path / "out").exists()


def test_two_runs_give_the_same_bytes(sea, base, thai, tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        assert sea("vocab-extend", base, thai, "--add", "9", "--workers", workers, "-o", tmp_path / name).code == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_protected_text_keeps_its_encoding(sea, base, thai, tmp_path):
    thai.write_text("then then the ขากา ขากา", encoding="utf-8")
    english = tmp_path / "en.txt"
    english.write_text("then\n")
    for name, flags in (("free", []), ("kept", ["--protect", f"en={english}"])):
        result = sea("vocab-extend", base, thai, "--add", "99", "-o", tmp_path / name, *flags)
        assert result.code == 0, result.stderr
    old = load_tokenizer(base)
    assert load_tokenizer(tmp_path / "free").encode("then") != old.encode("then")
    assert load_tokenizer(tmp_path / "kept").encode("then") == old.encode("then")
    assert "en: protected, 0 of 1 documents changed" in result.stderr


def test_too_little_text_says_how_many_tokens_there_are(sea, base, thai, tmp_path):
    result = sea("vocab-extend", base, thai, "--add", "4K", "-o", tmp_path / "out")
    made = len(rows(tmp_path / "out"))
    assert result.code == 0 and f"warning: only {made} of 4,000 tokens" in result.stderr


def test_min_count_and_max_bytes(sea, base, thai, tmp_path):
    sea("vocab-extend", base, thai, "--add", "99", "--min-count", "3", "--max-bytes", "6", "-o", tmp_path / "out")
    merges = [row for row in rows(tmp_path / "out") if row["origin"] == "merge"]
    assert merges and all(len(row["bytes"]) <= 12 for row in merges)


def test_text_from_stdin(sea, base, tmp_path):
    line = json.dumps({"text": "กากากา"}).encode()
    result = sea("vocab-extend", base, "th=-", "--add", "4", "-o", tmp_path / "out", stdin=line)
    assert result.code == 0 and len(rows(tmp_path / "out")) == 4


def test_dry_run_writes_nothing(sea, base, thai, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = sea("vocab-extend", base, thai, "--add", "5", "-o", tmp_path / "out", "--dry-run")
    assert result.code == 0 and "would add 5 tokens, ids 258 to 262" in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_methods_and_their_options_are_checked(sea, base, thai, tmp_path):
    for flags, message in [
        (["--method", "prepend"], "unknown --method 'prepend'"),
        (["--method", "donor"], "--method donor takes tokens of another tokenizer"),
        (["--donor", base], "--donor is of --method donor, not of continue"),
        (["--balance", "luck"], "unknown --balance 'luck'"),
        (["--balance", "parity"], "parity needs parallel text"),
        (["--until", "parity=1.5"], "parity needs parallel text"),
        (["--until", "speed=9"], "is no target"),
        (["--weights", "lo=2"], "--weights names lo"),
        (["--weights", "und=x"], "is no LANG=NUMBER"),
        (["--balance", "text", "--until", "bytes-per-token=2"], "--balance text looks at no language"),
        (["--shard", "4/4"], "is no shard"),
        (["--normalize", "nfkd"], "nfkd"),
        (["--pretokenizer", "qwen"], "unknown --pretokenizer 'qwen'"),
        (["--max-drift", "2"], "--max-drift is 2"),
    ]:
        result = sea("vocab-extend", base, thai, "--add", "5", *flags, "-o", tmp_path / "out")
        assert result.code == 2 and message in result.stderr, (flags, result.stderr)
        assert result.stderr.count("\n") <= 3 and not (tmp_path / "out").exists()
    assert "how many tokens?" in sea("vocab-extend", base, thai, "-o", tmp_path / "out").stderr


@pytest.mark.parametrize("flags", [["--add", "0"], ["--add", "x"], ["--add", "5", "--min-count", "0"], []])
def test_bad_numbers_are_usage_errors(sea, base, thai, tmp_path, flags):
    assert sea("vocab-extend", base, thai, *flags, "-o", tmp_path / "out").code == 2
    assert not (tmp_path / "out").exists()


def test_an_existing_output_stays_without_force(sea, base, thai, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert sea("vocab-extend", base, thai, "--add", "5", "-o", tmp_path / "out").code == 2
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    assert sea("vocab-extend", base, thai, "--add", "5", "-o", tmp_path / "out", "--force").code == 0
    assert not (tmp_path / "out" / "mine.txt").exists()


def test_a_bad_line_fails_or_is_skipped(sea, base, tmp_path):
    path = tmp_path / "th.jsonl"
    path.write_text('{"text": "กากากา"}\n{"text": 7}\n', encoding="utf-8")
    command = ["vocab-extend", base, path, "--add", "4", "-o", tmp_path / "out"]
    result = sea(*command)
    assert result.code == 1 and "th.jsonl:2" in result.stderr and not (tmp_path / "out").exists()
    result = sea(*command, "--on-error", "skip")
    assert result.code == 0 and "1 rejected" in result.stderr


def test_text_that_gives_no_token_is_an_error(sea, base, tmp_path):
    path = tmp_path / "en.txt"
    path.write_text("abc\n")
    result = sea("vocab-extend", base, path, "--add", "4", "-o", tmp_path / "out")
    assert result.code == 1 and "gives no new token" in result.stderr and not (tmp_path / "out").exists()


def test_unigram_asks_for_its_flag(sea, shared, thai, tmp_path):
    base = shared / "tokenizers" / "t5-v1_1-spm-unigram"
    command = ("vocab-extend", base, f"th={thai}", "--add", "4", "-o", tmp_path / "out")
    result = sea(*command)
    assert result.code == 1 and "sentencepiece-unigram" in result.stderr and "--unigram" in result.stderr
    result = sea(*command, "--unigram")
    assert result.code == 0, result.stderr
    new = load_tokenizer(tmp_path / "out")
    assert new.unk_id not in new.encode("กากา") and new.decode(new.encode("กากา")) == "กากา"


def test_unigram_fails_where_protected_text_drifts_too_far(sea, shared, tmp_path):
    base = shared / "tokenizers" / "t5-v1_1-spm-unigram"
    lines = (shared / "data/ntrex/eng.txt").read_text(encoding="utf-8").splitlines()
    for name, part in (("new", lines[100:]), ("kept", lines[:100])):
        (tmp_path / f"{name}.txt").write_text("\n".join(part), encoding="utf-8")
    texts = [f"en={tmp_path / 'new.txt'}", "--protect", f"en={tmp_path / 'kept.txt'}"]
    command = ["vocab-extend", base, *texts, "--add", "600", "--unigram"]
    result = sea(*command, "--max-drift", "0", "-o", tmp_path / "out")
    assert result.code == 3 and "of the words of en are encoded otherwise" in result.stderr
    assert not (tmp_path / "out").exists()
    result = sea(*command, "--max-drift", "1", "-o", tmp_path / "out")
    assert result.code == 0 and "of its words changed" in result.stderr


@pytest.mark.parametrize("name", ["models/stories260K", "tokenizers/mistral-v1-spm", "tokenizers/gptj-base"])
def test_real_bases_keep_the_old_encoding_underneath(sea, shared, tmp_path, name):
    texts = [f"{lang}={shared / 'data' / 'mono' / f'{lang}_tldr.jsonl'}" for lang in ("th", "lo")]
    protect = f"en={shared / 'data' / 'ntrex' / 'eng.txt'}"
    out = tmp_path / "out"
    result = sea("vocab-extend", shared / name, *texts, "--add", "400", "--protect", protect, "-o", out)
    assert result.code == 0, result.stderr
    base, new = load_tokenizer(shared / name), load_tokenizer(out)
    tokens = {
        row["id"]: NewToken(row["id"], row["token"], b"", "merge", None, tuple(row["pieces"])) for row in rows(out)
    }
    assert len(tokens) == 400
    unseen = (shared / "data" / "ntrex" / "tha.txt").read_text(encoding="utf-8").splitlines()[:300]
    old_size = new_size = 0
    for text in unseen:
        old_ids, new_ids = base.encode(text), new.encode(text)
        assert expand(new_ids, tokens) == old_ids
        assert new.decode(new_ids) == base.decode(old_ids)
        old_size, new_size = old_size + len(old_ids), new_size + len(new_ids)
    assert new_size < 0.8 * old_size


def test_shards_add_up_to_the_whole(sea, base, thai, tmp_path):
    text = [json.dumps({"text": line}) for line in thai.read_text(encoding="utf-8").splitlines() * 3]
    (tmp_path / "th.jsonl").write_text("\n".join(text), encoding="utf-8")
    (tmp_path / "en.txt").write_text("the then\nthe\n")
    sources = [f"th={tmp_path / 'th.jsonl'}", "--protect", f"en={tmp_path / 'en.txt'}"]
    for number in range(3):
        shard = ["--shard", f"{number}/3", "-o", tmp_path / f"counts-{number}.jsonl.zst"]
        assert sea("vocab-extend", base, *sources, *shard).code == 0
    whole = sea("vocab-extend", base, *sources, "--add", "9", "-o", tmp_path / "whole")
    parts = sea("vocab-extend", base, "--counts", tmp_path / "counts-*.zst", "--add", "9", "-o", tmp_path / "parts")
    assert (whole.code, parts.code) == (0, 0), parts.stderr
    for name in ("merges.txt", "vocab.json", "new_tokens.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    twice = [tmp_path / "counts-0.jsonl.zst", "--counts", tmp_path / "counts-[01].jsonl.zst"]
    result = sea("vocab-extend", base, "--counts", *twice, "--add", "9", "-o", tmp_path / "twice")
    assert result.code == 2 and "named twice" in result.stderr
    result = sea(
        "vocab-extend", base, "--counts", tmp_path / "counts-[02].jsonl.zst", "--add", "9", "-o", tmp_path / "x"
    )
    assert result.code == 1 and "shard 1/3 of en is missing" in result.stderr and not (tmp_path / "x").exists()


def test_shards_of_two_ways_to_divide_are_refused(sea, base, thai, tmp_path):
    for shard in ("0/2", "1/3"):
        name = tmp_path / f"{shard[0]}.jsonl"
        assert sea("vocab-extend", base, f"th={thai}", "--shard", shard, "-o", name).code == 0
    result = sea("vocab-extend", base, "--counts", tmp_path / "[01].jsonl", "--add", "9", "-o", tmp_path / "out")
    assert result.code == 1 and "shards of 2 and of 3" in result.stderr


def test_protected_text_beside_added_tokens_keeps_its_encoding(sea, byte_level_json, tmp_path):
    """GPT-NeoX has runs of spaces as added tokens: after one a word stands without its space."""
    base = byte_level_json(tmp_path / "base", [(b" ", b"k")])
    path = base / "tokenizer.json"
    parsed = json.loads(path.read_text(encoding="utf-8"))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    parsed["added_tokens"] = [{"id": 300, "content": "  "} | flags]
    parsed["model"]["vocab"]["ĠĠ"] = 300
    path.write_text(json.dumps(parsed), encoding="utf-8")
    (tmp_path / "code.txt").write_text("if  kof\n", encoding="utf-8")
    (tmp_path / "id.txt").write_text("kof akofa\nkof akofa\n", encoding="utf-8")
    flags = ["--add", "20", "--protect", f"code={tmp_path / 'code.txt'}"]
    result = sea("vocab-extend", base, tmp_path / "id.txt", *flags, "-o", tmp_path / "out")
    assert result.code == 0, result.stderr
    old, new = load_tokenizer(base), load_tokenizer(tmp_path / "out")
    assert new.encode("if  kof") == old.encode("if  kof")
    assert new.encode("akofa") != old.encode("akofa")


def test_parity_without_the_text_for_it_is_refused(sea, base, thai, tmp_path):
    english = tmp_path / "en.txt"
    english.write_text("the\nthen\nthe\n")
    runs = [
        (["--reference", "en"], 2, "no --parallel text of en"),
        (["--reference", "en", "--parallel", f"th={thai}"], 2, "no --parallel text of en"),
        (["--reference", "en", "--parallel", f"en={english}", "--until", "parity=2"], 2, "no --parallel text of th"),
        (["--reference", "en", "--parallel", f"en={english},th={thai}"], 1, "2 parallel records and en has 3"),
    ]
    for flags, code, message in runs:
        result = sea("vocab-extend", base, f"th={thai}", "--add", "5", *flags, "-o", tmp_path / "out")
        assert result.code == code and message in result.stderr, result.stderr
        assert not (tmp_path / "out").exists()


def test_flags_that_mean_nothing_are_refused(sea, base, thai, tmp_path):
    for flags, message in [(["--scripts", "Thia"], '"Thia"'), (["--weights", "th=0"], "no language a token")]:
        result = sea("vocab-extend", base, f"th={thai}", "--add", "5", *flags, "-o", tmp_path / "out")
        assert result.code == 2 and message in result.stderr


def test_more_languages_than_can_be_told_apart_are_refused(sea, base, tmp_path):
    """Their numbers would wrap round, and the last ones silently get nothing."""
    texts = []
    for number in range(257):
        path = tmp_path / f"{number}.txt"
        path.write_text("abab abab\n")
        texts.append(f"l{number}={path}")
    result = sea("vocab-extend", base, *texts, "--add", "5", "-o", tmp_path / "out")
    assert result.code == 2 and "at most 256" in result.stderr
    assert sea("vocab-extend", base, *texts, "--add", "2", "--balance", "text", "-o", tmp_path / "out").code == 0
    assert sea("vocab-extend", base, *texts[1:], "--add", "2", "-o", tmp_path / "most").code == 0


def test_no_token_is_longer_than_asked_characters_neither(sea, base, thai, tmp_path):
    thai.write_text("กากา abab abab", encoding="utf-8")
    assert sea("vocab-extend", base, thai, "--add", "9", "--max-bytes", "2", "-o", tmp_path / "out").code == 0
    assert {len(row["bytes"]) for row in rows(tmp_path / "out")} == {4}


def test_all_the_text_to_measure_is_measured(sea, base, thai, tmp_path):
    many = tmp_path / "en.txt"
    many.write_text("".join(f"{number} some words of english text\n" for number in range(10_000)))
    flags = ["--add", "5", "--measure", f"en={many}", "--report", "-"]
    result = sea("vocab-extend", base, thai, *flags, "-o", tmp_path / "out")
    assert json.loads(result.stdout)["measured"]["en"]["num_docs"] == 10_000


def test_counts_of_another_tokenizer_are_refused(sea, base, byte_level, thai, tmp_path):
    other = byte_level(tmp_path / "other", [(b"a", b"b")])
    assert sea("vocab-extend", other, f"th={thai}", "--shard", "0/1", "-o", tmp_path / "c.jsonl").code == 0
    result = sea("vocab-extend", base, "--counts", tmp_path / "c.jsonl", "--add", "9", "-o", tmp_path / "out")
    assert result.code == 1 and "another tokenizer" in result.stderr and "c.jsonl:1" in result.stderr
    (tmp_path / "bad.jsonl").write_text('{"word": "x"}\n')
    result = sea("vocab-extend", base, "--counts", tmp_path / "bad.jsonl", "--add", "9", "-o", tmp_path / "out")
    assert result.code == 1 and "bad.jsonl:1" in result.stderr


def test_each_language_gets_its_share_and_stops_at_its_target(sea, base, shared, tmp_path):
    texts = [f"{lang}={shared / 'data' / 'mono' / f'{lang}_tldr.jsonl'}" for lang in ("th", "lo")]

    def run(name, *flags):
        path = tmp_path / f"{name}.json"
        result = sea("vocab-extend", base, *texts, *flags, "--report", path, "-o", tmp_path / name)
        assert result.code == 0, result.stderr
        return json.loads(path.read_text())

    assert run("shares", "--add", "400", "--weights", "th=3")["spent"] == {"th": 300, "lo": 100}
    report = run("until", "--until", "bytes-per-token=3")
    assert report["reached"] == {"th": True, "lo": True}
    assert all(3 <= row["new_bytes_per_token"] < 3.05 for row in report["languages"].values())
    parallel = [f"{lang}={shared / 'data/flores200/dev' / name}" for lang, name in
                (("th", "tha_Thai.txt"), ("lo", "lao_Laoo.txt"), ("en", "eng_Latn.txt"))]  # fmt: skip
    flags = [word for source in parallel for word in ("--parallel", source)]
    texts = [f"th={shared / 'data/ntrex/tha.txt'}", f"lo={shared / 'data/ntrex/lao.txt'}"]
    report = run("parity", "--add", "600", "--balance", "parity", "--reference", "en", *flags)
    old, new = load_tokenizer(base), load_tokenizer(tmp_path / "parity")
    sizes = {
        source[:2]: [
            sum(map(len, t.encode_batch(Path(source[3:]).read_text(encoding="utf-8").splitlines()))) for t in (old, new)
        ]
        for source in parallel
    }
    assert sizes["th"][1] == pytest.approx(sizes["lo"][1], rel=0.01)  # both as far from English
    assert sizes["th"][1] < 0.5 * sizes["th"][0]


def test_measured_and_unseen_text_is_reported(sea, shared, tmp_path):
    german = (shared / "data/ntrex/deu.txt").read_text(encoding="utf-8").splitlines()
    for name, part in (("seen", german[0::2]), ("unseen", german[1::2])):
        (tmp_path / f"{name}.txt").write_text("\n".join(part), encoding="utf-8")
    flags = ["--protect", f"de={tmp_path / 'seen.txt'}", "--measure", f"de={tmp_path / 'unseen.txt'}", "--add", "1500"]
    text = f"id={shared / 'data/mono/id_commonvoice.txt'}"
    result = sea("vocab-extend", shared / "tokenizers/gptj-base", text, *flags, "--report", "-", "-o", tmp_path / "out")
    assert result.code == 0, result.stderr
    report = json.loads(result.stdout)
    measured = report["measured"]["de"]["changed"] / report["measured"]["de"]["num_docs"]
    expected = report["protected"]["de"]["expected_drift_of_unseen_docs"]
    assert 0.01 < measured < 0.2
    assert measured / 2 < expected < 2 * measured, (measured, expected)  # leave-one-out, from the protected half alone


def test_marks_lifts_the_ceiling_and_lists_what_wakes(sea, shared, tmp_path):
    base = shared / "tokenizers/qwen2"
    text = f"th={shared / 'data/mono/th_tldr.jsonl'}"
    reports = {}
    for way in ("keep", "marks"):
        result = sea(
            "vocab-extend", base, text, "--add", "300", "--pretokenizer", way, "--report", "-", "-o", tmp_path / way
        )
        assert result.code == 0, result.stderr
        reports[way] = json.loads(result.stdout)
    keep, marks = (reports[way]["languages"]["th"]["new_bytes_per_token"] for way in ("keep", "marks"))
    assert marks > 1.2 * keep
    assert reports["keep"]["existing_tokens"]["dormant"] > 1000 < reports["marks"]["existing_tokens"]["woken"]
    listed = [json.loads(line) for line in (tmp_path / "marks" / "existing_tokens.jsonl").read_bytes().splitlines()]
    woken = next(row for row in listed if row["reason"] == "woken")
    old, new = load_tokenizer(base), load_tokenizer(tmp_path / "marks")
    word = bytes.fromhex(woken["bytes"]).decode()
    assert old.encode(word) == woken["pieces"] != [woken["id"]]
    english = (shared / "data/ntrex/eng.txt").read_text(encoding="utf-8").splitlines()
    assert old.encode_batch(english) == new.encode_batch(english)


def test_text_in_another_script_or_form_is_told(sea, base, tmp_path):
    import unicodedata

    path = tmp_path / "x.txt"
    path.write_text("กากา กากา\n" * 20, encoding="utf-8")
    result = sea("vocab-extend", base, f"lo={path}", "--add", "4", "--scripts", "any", "-o", tmp_path / "out")
    assert result.code == 0 and "warning: lo:" in result.stderr and "Thai" in result.stderr
    path.write_text(unicodedata.normalize("NFD", "tiếng Việt đẹp\n" * 20), encoding="utf-8")
    result = sea("vocab-extend", base, f"vi={path}", "--add", "4", "-o", tmp_path / "nfd")
    assert "NFC" in result.stderr and "--normalize" in result.stderr
    result = sea("vocab-extend", base, f"vi={path}", "--add", "4", "--normalize", "nfc", "-o", tmp_path / "nfc")
    assert result.code == 0 and "NFC" not in result.stderr
    assert any(row["bytes"] == "ế".encode().hex() for row in rows(tmp_path / "nfc"))


def test_scripts_keep_other_writing_out(sea, base, tmp_path):
    path = tmp_path / "th.txt"
    path.write_text("กากา hello กากา hello 1212 1212\n", encoding="utf-8")
    sea("vocab-extend", base, f"th={path}", "--add", "99", "-o", tmp_path / "auto")
    sea("vocab-extend", base, f"th={path}", "--add", "99", "--scripts", "any", "-o", tmp_path / "any")
    spelled = {
        name: {bytes.fromhex(row["bytes"]).decode("utf-8", "replace") for row in rows(tmp_path / name)}
        for name in ("auto", "any")
    }
    assert "กา" in spelled["auto"] and "12" in spelled["auto"]
    assert not any("he" in text for text in spelled["auto"]) and any("he" in text for text in spelled["any"])


def test_unigram_is_for_unigram_only(sea, base, thai, tmp_path):
    result = sea("vocab-extend", base, thai, "--add", "5", "--unigram", "-o", tmp_path / "out")
    assert result.code == 2 and "--unigram" in result.stderr and not (tmp_path / "out").exists()


def test_a_byte_level_base_without_a_decoder_is_refused(sea, byte_level_json, thai, tmp_path):
    folder = byte_level_json(tmp_path / "base", [])
    parsed = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(parsed | {"decoder": None}))
    result = sea("vocab-extend", folder, thai, "--add", "5", "-o", tmp_path / "out")
    assert result.code == 1 and "has no decoder" in result.stderr and not (tmp_path / "out").exists()


def test_a_language_of_no_weight_gets_no_characters_either(sea, base, thai, tmp_path):
    lao = tmp_path / "lo.txt"
    lao.write_text("ກາກາ ກາກາ\n", encoding="utf-8")
    texts = [f"th={thai}", f"lo={lao}", "--weights", "lo=0"]
    assert sea("vocab-extend", base, *texts, "--add", "9", "-o", tmp_path / "out").code == 0
    assert not any("ກ" in bytes.fromhex(row["bytes"]).decode("utf-8", "replace") for row in rows(tmp_path / "out"))


def test_measuring_a_sample_is_said(sea, base, thai, tmp_path, monkeypatch):
    monkeypatch.setattr("seatools.vocab_extend.corpus.MEASURED_BYTES", 40)
    result = sea("vocab-extend", base, thai, "--measure", f"en={thai}", "--add", "5", "-o", tmp_path / "out")
    assert result.code == 0 and "of 1 documents (a sample of 2) changed" in result.stderr
