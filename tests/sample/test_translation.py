"""Prompts that the model translates before it answers: what it is asked, what is kept, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from said_answers import said
from tiny_llama import write_jsonl

from seatools.engine.generator import OwnLoop
from seatools.sample import translation
from seatools.sample.translation import check_translation, read_translation_prompts
from seatools.streams.errors import UsageError
from seatools.streams.records import BadRecord
from seatools.text.scripts import main_script, scripts_of_language

LANGS = ["en", "th", "lo", "km", "my", "vi", "id", "ms", "tl", "ceb", "jv", "su", "ta", "zh"]
LAO = "ຈົ່ງບອກຊື່ແມ່ນ້ຳສາມສາຍ"
ASK = "Name three rivers."


def ask_for(text: str, target: str, source: str = "en", *, chat: bool = True) -> str:
    return read_translation_prompts(None, source).ask(text, target, chat=chat)


@pytest.fixture
def answers(monkeypatch):
    """`answers(says)`: the model answers with `says(asked text, request)`; returns what it was asked."""

    def use(says) -> list[str]:
        asked: list[str] = []
        monkeypatch.setattr(OwnLoop, "run", said(says, asked))
        return asked

    return use


def lao_or_answer(text, request):
    return LAO if ASK in text or "Hello" in text else f"answer {request.seed % 97}"


def records(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


# The file


@pytest.mark.parametrize("lang", LANGS)
def test_our_file_asks_in_english_and_in_the_language(lang):
    prompts = read_translation_prompts(None, "th" if lang == "en" else "en")
    entry = prompts.entry(lang)
    scripts = scripts_of_language(lang)
    assert scripts is None or main_script(entry["instruction"]) in scripts
    for chat in (True, False):
        asked = prompts.ask("{text} {source} 100 {x}", lang, chat=chat)
        assert entry["instruction"] in asked and f"into {entry['name']}" in asked
        assert asked.count("{text} {source} 100 {x}") == 1  # braces of a prompt stay
        assert "{english}" not in asked and "{native}" not in asked and "{target}" not in asked
    assert asked.endswith(f"\n{entry['name']}:")


@pytest.mark.parametrize(("tag", "name"), [("lo_LA", "Lao"), ("tha", "Thai"), ("fil", "Tagalog"), ("zsm", "Malay"),
                                           ("zho_Hans", "Chinese"), ("VI", "Vietnamese")])  # fmt: skip
def test_a_language_has_several_tags(tag, name):
    assert read_translation_prompts(None, "en").entry(tag)["name"] == name


FORMS = 'chat = "{text}"\nplain = "{text}"\nenglish = "x"\n[lo]\nname = "Lao"\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [("chat = 1", '"chat" is missing'), ("][", "not TOML"), ('chat = "a"', "no {text}"),
     (FORMS, "needs a name and an instruction"), (FORMS + 'instruction = "y"', 'no translation prompt for "en"')],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, words):
    (tmp_path / "t.toml").write_text(content)
    with pytest.raises(UsageError) as error:
        read_translation_prompts(tmp_path / "t.toml", "en")
    assert words in str(error.value) and "t.toml" in str(error.value)


# What is a translation


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [(LAO, "length", "translation cut off"), (" \n", "stop", "empty translation"), (ASK, "stop", "like its source"),
     ('"name three  rivers."', "stop", "like its source"), ("Tell me three rivers", "stop", "another script"),
     ("แม่น้ำสามสาย", "stop", "another script"), ("1, 2, 3", "stop", "another script")],
)  # fmt: skip
def test_what_is_no_translation_is_refused(text, finish, reason):
    with pytest.raises(BadRecord) as error:
        check_translation(text, ASK, finish, source="en", target="lo")
    assert reason in error.value.reason


@pytest.mark.parametrize(("text", "source"), [(LAO, ASK), (f"{LAO} (HTML)", ASK), ("17 + 4 = ?", "17 + 4 = ?")])
def test_names_and_numbers_may_stay(text, source):
    check_translation(text, source, "stop", source="en", target="lo")


def test_within_one_script_the_source_language_is_told_where_cld2_is_installed(monkeypatch):
    english = "Please tell me the names of the three longest rivers in the whole world."
    vietnamese = "Hãy cho tôi biết tên của ba con sông dài nhất trên thế giới."
    for text, refused in ((english, translation.is_identified()), (vietnamese, False)):
        try:
            check_translation(text, ASK, "stop", source="en", target="vi")
            assert not refused
        except BadRecord as error:
            assert refused and error.reason == "translation in another language"
    monkeypatch.setattr(translation, "is_identified", lambda: False)
    check_translation(english, ASK, "stop", source="en", target="vi")


# The command

RUN = ["-n", "2", "--max-new-tokens", "30", "--from-prompts-in", "en"]


@pytest.fixture
def wide_model(tmp_path_factory):
    from tiny_llama import write_model, write_tokenizer

    folder = tmp_path_factory.mktemp("wide") / "model"
    write_tokenizer(folder)
    return write_model(folder, max_position_embeddings=2048)


def test_the_record_keeps_the_source_and_asks_in_the_language(sea, wide_model, answers):
    asked = answers(lao_or_answer)
    line = b'{"prompt": "Name three rivers.", "lang": "en", "id": 1.0}\n'
    result = sea("sample", wide_model, *RUN, "--lang", "lo", "--chat", stdin=line + line)
    assert result.code == 0, result.stderr
    found, _ = records(result.stdout)
    assert result.stdout.startswith(b'{"prompt"') is False  # replaced
    assert b'"id": 1.0' in result.stdout.splitlines()[0]
    assert found["source_prompt"] == ASK and found["source_lang"] == "en" and found["lang"] == "lo"
    assert found["prompt"] == [{"role": "user", "content": LAO}]
    assert found["sampling"]["translation"]["prompts"] == read_translation_prompts(None, "en").digest
    assert asked == [ask_for(ASK, "lo"), LAO, LAO]  # once for both records
    assert len(set(found["responses"])) == 2


def test_the_lang_of_the_record_is_the_target(sea, wide_model, answers):
    asked = answers(lambda text, _: LAO if "Lao" in text else "แม่น้ำ" if "Thai" in text else "x")
    given = b"".join(json.dumps({"prompt": ASK, "lang": lang}).encode() + b"\n" for lang in ("lo", "th"))
    found = records(sea("sample", wide_model, *RUN, stdin=given).stdout)
    assert [record["prompt"] for record in found] == [LAO, "แม่น้ำ"]
    assert [record["lang"] for record in found] == ["lo", "th"]
    assert ask_for(ASK, "th") in asked


def test_every_turn_but_the_systems_is_translated(sea, wide_model, answers):
    asked = answers(lao_or_answer)
    turns = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "Hello"},
             {"role": "assistant", "content": "Hello you"}, {"role": "user", "content": ASK}]  # fmt: skip
    (found,) = records(
        sea("sample", wide_model, *RUN, stdin=json.dumps({"prompt": turns, "lang": "lo"}).encode()).stdout
    )
    assert found["source_prompt"] == turns
    assert [turn["role"] for turn in found["prompt"]] == ["system", "user", "assistant", "user"]
    assert [turn["content"] for turn in found["prompt"]] == ["be kind", LAO, LAO, LAO]
    assert len(asked) == 3 + 2


def test_without_a_chat_template_it_is_a_text_to_go_on_with(sea, piece_model, answers):
    asked = answers(lao_or_answer)
    run = ["--max-new-tokens", "3", "--from-prompts-in", "en", "--translation-prompts"]
    short = piece_model.parent / "short.toml"
    short.write_text('chat = "{text}"\nplain = "{english}{native} {source}: {text}\\n{target}:"\nenglish = ""\n'
                     '[en]\nname = "en"\ninstruction = "a"\n[lo]\nname = "lo"\ninstruction = "b"')  # fmt: skip
    line = json.dumps({"prompt": ASK, "lang": "lo"}).encode()
    result = sea("sample", piece_model, *run, short, "--translation-tokens", 9, stdin=line)
    assert result.code == 0, result.stderr
    assert asked[0] == f"b en: {ASK}\nlo:"
    assert records(result.stdout)[0]["prompt"] == LAO


@pytest.mark.parametrize("policy", ["fail", "skip", "quarantine"])
def test_what_is_no_translation_is_counted_and_its_record_dropped(sea, wide_model, answers, tmp_path, policy):
    answers(lambda text, _: "no Lao" if "two" in text else lao_or_answer(text, _))
    given = write_jsonl(tmp_path / "p.jsonl", [{"prompt": text, "lang": "lo"} for text in (ASK, "Name two rivers.")])
    out = tmp_path / "out.jsonl"
    result = sea("sample", wide_model, given, *RUN, "-o", out, "--on-error", policy)
    assert result.code == 0, result.stderr
    assert [record["source_prompt"] for record in records(out.read_bytes())] == [ASK]
    manifest = json.loads(Path(f"{out}.manifest.json").read_text())
    assert manifest["rejects"] == {"translation in another script": 1}
    assert "translation in another script 1" in result.stderr
    if policy == "quarantine":
        (kept,) = records(Path(f"{out}.quarantine.jsonl").read_bytes())
        assert "two rivers" in kept["raw"] and kept["line"] == 2
        again = sea("sample", wide_model, given, *RUN, "-o", out, "--on-error", policy, "--resume")
        assert again.code == 0 and "is finished" in again.stderr
        assert records(Path(f"{out}.quarantine.jsonl").read_bytes()) == [kept]  # only the model knew of this one


def test_where_nothing_could_be_translated_nothing_is_written(sea, wide_model, answers, tmp_path):
    answers(lambda *_: "no Lao")
    out = tmp_path / "out.jsonl"
    result = sea("sample", wide_model, *RUN, "--lang", "lo", "-o", out, stdin=b'{"prompt": "Name three rivers."}')
    assert result.code == 1 and "no prompt could be answered (translation in another script 1)" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "record", "code", "words"),
    [
        ([], {"prompt": "a"}, 1, 'no "lang"'),
        ([], {"prompt": "a", "lang": "en"}, 1, "the language that its prompt is in already"),
        ([], {"prompt": "a", "lang": "xx"}, 1, 'no translation prompt for "xx"'),
        (["--lang", "xx"], {"prompt": "a"}, 2, 'no translation prompt for "xx"'),
        (["--lang", "en"], {"prompt": "a"}, 2, "the language of the prompts"),
        (["--translation-tokens", "2048"], {"prompt": "a", "lang": "lo"}, 2, "leaves no room"),
    ],
)
def test_a_target_that_cannot_be_is_refused(sea, wide_model, more, record, code, words):
    result = sea("sample", wide_model, *RUN, *more, stdin=json.dumps(record).encode())
    assert result.code == code and words in result.stderr, result.stderr


def test_the_flags_of_translation_want_its_source(sea, wide_model, tmp_path):
    for more in (["--lang", "lo"], ["--translation-prompts", tmp_path / "x.toml"]):
        assert sea("sample", wide_model, *more, stdin=b'{"prompt": "a"}').code == 2
