"""The whole of it on records: what is kept, what is counted, what the rejects file says, for any number of workers."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest

from seatools.streams.errors import UsageError
from seatools.streams.records import Record, RecordReader
from seatools.text.cleaning import check_pool
from seatools.text.cleaning.cleaner import Cleaner
from seatools.text.cleaning.options import CleaningOptions, cleaning_options
from seatools.text.cleaning.survivor_spool import SurvivorSpool

THAI = "ประเทศไทยมีประชากรประมาณหกสิบหกล้านคน และมีกรุงเทพมหานครเป็นเมืองหลวงของประเทศ"
LAO = "ປະເທດລາວມີປະຊາກອນປະມານເຈັດລ້ານຄົນ ແລະມີນະຄອນຫຼວງວຽງຈັນເປັນເມືອງຫຼວງ"


def records(*values: dict | str) -> list[Record]:
    made = []
    for line, value in enumerate(values, 1):
        raw = orjson.dumps({"text": value} if isinstance(value, str) else value)
        made.append(Record(raw, orjson.loads(raw), "x.jsonl", line))
    return made


def rows(stream: io.BytesIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_first_of_equal_documents_is_kept_across_sources():
    rejects = io.BytesIO()
    with Cleaner(CleaningOptions(exact=True), rejects=rejects) as cleaner:
        first = list(cleaner.stream(records("a b", "c", "a  b\n"), name="one"))
        second = list(cleaner.stream(records("c", "d"), name="two"))
    assert [record.value["text"] for record in (*first, *second)] == ["a b", "c", "d"]
    assert [row["reject"]["where"] for row in rows(rejects)] == ["x.jsonl:3", "x.jsonl:1"]
    assert cleaner.counts["two"].as_dict() == {
        "seen": 2, "kept": 1, "changed": 0, "rejected": {"exact_duplicate.v1": 1}
    }  # fmt: skip
    assert cleaner.summary() == "5 documents: 3 kept, 0 of them changed; 2 rejected (exact_duplicate.v1 2)"


def test_copies_of_a_rejected_document_are_rejected_for_its_reason():
    with Cleaner(CleaningOptions(exact=True, lang=("th",))) as cleaner:
        assert [record.value["text"] for record in cleaner.stream(records(LAO, THAI, LAO))] == [THAI]
    assert cleaner.rejected == {"lang.v1": 2}


def test_declared_language_is_the_records_own_then_the_label():
    options = CleaningOptions(lang_check=True)
    rejects = io.BytesIO()
    with Cleaner(options, rejects=rejects) as cleaner:
        kept = list(cleaner.stream(records({"text": LAO, "lang": "lo"}, LAO, THAI, {"text": THAI, "lang": "lo"}), "th"))
    assert [record.line for record in kept] == [1, 3]
    reasons = [row["reject"] for row in rows(rejects)]
    assert [(why["reason"], why["value"], why["limit"]) for why in reasons] == [
        ("lang_check.v1", "lo", "th"), ("lang_check.v1", "th", "lo")
    ]  # fmt: skip


def test_documents_that_name_no_language_are_told_of():
    with Cleaner(CleaningOptions(lang_check=True)) as cleaner:
        unknown = {"text": THAI, "lang": "Thai"}  # nothing can be told of it, so it is not as if it had been checked
        assert len(list(cleaner.stream(records(THAI, {"text": LAO, "lang": "lo"}, unknown)))) == 3
    assert cleaner.summary().endswith("; 2 name no language that can be checked")
    assert cleaner.counts["input"].as_dict()["undeclared"] == 2


def test_write_lang_stamps_only_what_has_none():
    given = records(THAI, {"text": LAO, "lang": "xx"}, {"text": "12 34", "id": 1.0})
    with Cleaner(CleaningOptions(write_lang=True)) as cleaner:
        got = [record.raw for record in cleaner.stream(given, "my")]
    assert got == [given[0].raw[:-1] + b',"lang":"th"}', given[1].raw, given[2].raw[:-1] + b',"lang":"my"}']
    assert cleaner.counts["input"].num_changed == 2


def test_a_text_that_repair_leaves_empty_is_rejected():
    given = records("\u200b\ufeff", {"prompt": "q", "completion": "\u200b"}, "a\u200bb")
    with Cleaner(CleaningOptions(zero_width="repair")) as cleaner:
        assert [(record.raw, record.line) for record in cleaner.stream(given)] == [(b'{"text":"ab"}', 3)]
    assert cleaner.rejected == {"empty.v1": 2} and cleaner.counts["input"].num_changed == 1


def test_chat_is_filtered_as_one_text():
    chat = {"messages": [{"role": "user", "content": "ok?"}, {"role": "assistant", "content": THAI}]}
    with Cleaner(CleaningOptions(lang=("th",), quality=True)) as cleaner:
        assert [record.value for record in cleaner.stream(records(chat))] == [chat]


def test_any_number_of_workers_gives_the_same_bytes(shared, monkeypatch):
    monkeypatch.setattr(check_pool, "POOL_FROM_BYTES", 0)
    monkeypatch.setattr(check_pool, "BATCH_DOCS", 40)
    data = shared / "data"
    options = cleaning_options(
        normalize="zawgyi", zero_width="repair", quality=True, lang_check=True, dedup=["exact"], write_lang=True,
        decontaminate=[str(data / "flores200/dev/mya_Mymr.txt")],
    )  # fmt: skip
    results = []
    for workers in (1, 2):
        rejects = io.BytesIO()
        with Cleaner(options, rejects=rejects, workers=workers) as cleaner:
            reader = RecordReader([str(data / "mono/my_voa.jsonl"), str(data / "ntrex/mya.txt")], limit=100)
            kept = b"\n".join(record.raw for record in cleaner.stream(reader, "my"))
        results.append((kept, rejects.getvalue(), cleaner.summary()))
    assert results[0] == results[1]
    assert results[0][2].startswith("100 documents")


def test_a_pipe_flows():
    """What was read comes out before more is asked for, but for one batch."""
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield from records(f"{asked} {THAI}")

    with Cleaner(CleaningOptions(normalize="nfc", exact=True)) as cleaner:
        flow = cleaner.stream(endless())
        for _ in range(10):
            next(flow)
    assert asked <= check_pool.BATCH_DOCS


class TestTwoPasses:
    """Near duplicates and scores."""

    NEAR = [f"{THAI} {number} {LAO}" for number in (1, 2)]

    def test_near_duplicates_keep_the_first_and_name_it(self):
        rejects = io.BytesIO()
        with Cleaner(cleaning_options(dedup=["near:0.8"]), rejects=rejects) as cleaner:
            cleaner.read("one", None, records(self.NEAR[0], "something else entirely, in English"))
            cleaner.read("two", None, records(self.NEAR[1], LAO))
            cleaner.settle()
            assert [record.value["text"] for record in cleaner.survivors("two")] == [LAO]
            assert [record.line for record in cleaner.survivors("one")] == [1, 2]
        why = rows(rejects)[0]["reject"]
        assert why == {"reason": "near_duplicate.v1", "detail": "x.jsonl:1", "source": "two", "where": "x.jsonl:1"}
        assert (cleaner.counts["one"].num_kept, cleaner.counts["two"].num_kept) == (2, 1)

    def test_the_best_share_of_each_language_is_kept(self):
        options = cleaning_options(score_with="MODEL", score_quantile="th=0.5,0.25")
        texts = [*(f"{THAI} {number}" for number in range(4)), *(f"{LAO} {number}" for number in range(4))]
        seen: list[str] = []

        def score(documents):
            seen.extend(documents)
            return np.array([int(text[-1]) for text in seen], np.float32)

        rejects = io.BytesIO()
        with Cleaner(options, rejects=rejects, score=score) as cleaner:
            cleaner.read("all", None, records(*texts))
            cleaner.settle()
            kept = [record.value["text"] for record in cleaner.survivors("all")]
        assert seen == texts
        assert kept == [texts[0], texts[1], texts[4]]
        assert rows(rejects)[0]["reject"] | {"where": "", "source": ""} == {
            "reason": "score.v1", "value": 2.0, "limit": "th=0.5", "where": "", "source": ""
        }  # fmt: skip

    def test_duplicates_are_not_scored_and_changes_are_counted_of_the_kept(self):
        options = cleaning_options(score_with="M", score_quantile="1", dedup=["near"], zero_width="repair")
        scored: list[str] = []

        def score(documents):
            scored.extend(documents)
            return np.zeros(len(scored), np.float32)

        with Cleaner(options, score=score) as cleaner:
            cleaner.read("all", None, records(f"\ufeff{self.NEAR[0]}", f"\ufeff{self.NEAR[1]}", LAO))
            cleaner.settle()
            assert len(list(cleaner.survivors("all"))) == len(scored) == 2
        assert cleaner.counts["all"].as_dict() == {
            "seen": 3, "kept": 2, "changed": 1, "rejected": {"near_duplicate.v1": 1}
        }  # fmt: skip

    def test_a_language_without_a_share_is_told_before_anything_is_scored(self):
        options = cleaning_options(score_with="MODEL", score_quantile="th=0.3", dedup=["near"])

        def score(documents):
            raise AssertionError("nothing may be scored")

        with Cleaner(options, score=score) as cleaner:
            cleaner.read("all", "th", records(THAI, {"text": LAO, "lang": "lo"}))
            with pytest.raises(UsageError, match="documents in lo"):
                cleaner.settle()
            with pytest.raises(ValueError, match="before settle"):
                next(cleaner.survivors("all"))

    def test_tags_of_one_language_share_its_share(self):
        options = cleaning_options(score_with="MODEL", score_quantile="tha=0.5")
        with Cleaner(options, score=lambda texts: np.arange(len(list(texts)), dtype=np.float32)) as cleaner:
            cleaner.read("one", "th", records(*(f"{THAI} {number}" for number in range(2))))
            cleaner.read("two", "th_TH", records(*(f"{THAI} {number}" for number in range(2, 4))))
            cleaner.settle()
            assert [len(list(cleaner.survivors(name))) for name in ("one", "two")] == [2, 0]

    def test_a_source_that_is_read_in_two_goes_keeps_its_order(self):
        with Cleaner(cleaning_options(dedup=["near"], normalize="nfc")) as cleaner:
            for name, texts in (("a", ["first", "cafe\u0301 and more"]), ("b", ["third"]), ("a", ["fourth", "first"])):
                cleaner.read(name, None, records(*texts))
            cleaner.settle()
            assert [record.value["text"] for record in cleaner.survivors("a")] == ["first", "café and more", "fourth"]
            assert [record.value["text"] for record in cleaner.survivors("b")] == ["third"]
            assert list(cleaner.survivors("never read")) == []
        assert (cleaner.counts["a"].num_kept, cleaner.counts["a"].num_changed) == (3, 1)

    def test_the_survivors_of_a_source_take_no_look_at_other_sources(self, monkeypatch):
        looks: Counter[str] = Counter()
        record, source = SurvivorSpool.record, SurvivorSpool.source
        monkeypatch.setattr(SurvivorSpool, "record", lambda *args: (looks.update(["record"]), record(*args))[1])
        monkeypatch.setattr(SurvivorSpool, "source", lambda *args: (looks.update(["source"]), source(*args))[1])
        with Cleaner(cleaning_options(dedup=["near"])) as cleaner:
            for number in range(40):
                cleaner.read(str(number), None, records(f"{number}", f"only {number} is here"))
            cleaner.settle()
            assert sum(len(list(cleaner.survivors(str(number)))) for number in range(40)) == 80
        assert looks == {"record": 80}

    def test_nothing_read(self):
        with Cleaner(cleaning_options(dedup=["near"])) as cleaner:
            cleaner.read("none", None, [])
            cleaner.settle()
            assert list(cleaner.survivors("none")) == []

    def test_stream_refuses_and_a_score_needs_its_function(self):
        with Cleaner(cleaning_options(dedup=["near"])) as cleaner, pytest.raises(ValueError, match="two|settle"):
            next(cleaner.stream(records("a")))
        with pytest.raises(ValueError, match="function"):
            Cleaner(cleaning_options(score_with="MODEL"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"dedup": ["fuzzy"]}, "no kind of duplicates"),
        ({"dedup": ["near:x"]}, "no number"),
        ({"dedup": ["near:1.5"]}, "similarity of 1.5"),
        ({"score_quantile": "0.3"}, "without --score-with"),
        ({"score_with": "M", "score_quantile": "th"}, "no number"),
        ({"score_with": "M", "score_quantile": "th=2"}, "no share"),
        ({"quality_rules": "x.toml"}, "without --quality"),
        ({"normalize": "nfkc"}, "no normalization"),
        ({"zero_width": "all"}, "no repair"),
        ({"lang_id": "cld2"}, "nothing to use it for"),
    ],
)
def test_options_that_cannot_be_meant(flags, said):
    with pytest.raises(UsageError, match=said):
        cleaning_options(**flags)


def test_languages_that_a_tier_cannot_tell(tmp_path: Path):
    with Cleaner(CleaningOptions(lang=("en",))) as cleaner:
        assert cleaner.warnings == ["--lang en: its script (Latin) is all that --lang-id script can check"]
    with pytest.raises(UsageError, match="does not know xyz"):
        Cleaner(CleaningOptions(lang=("xyz",)))
    pytest.importorskip("pycld2")
    with pytest.raises(UsageError, match="does not know shn"):
        Cleaner(CleaningOptions(lang=("shn",), lang_id="cld2"))
