"""Which tokens of a record are trained."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from seatools.streams.errors import SeaError
from seatools.text.chat import ChatTemplate, load_chat_template
from seatools.text.documents import Documents, TokenizedDoc


class FakeTokenizer:
    """One token a character, and one for `ab` and for two line ends; specials `<s>`, `</s>`, `<|end|>`."""

    path = Path("fake")
    unk_id = pad_id = None
    special_ids = {"<s>": 1, "</s>": 2, "<|end|>": 3}
    merges = {"ab": 4, "\n\n": 5}

    def __init__(self, *, bos: bool = True, eos: bool = True) -> None:
        self.bos_id = 1 if bos else None
        self.eos_id = 2 if eos else None
        self.num_calls = 0

    def encode_batch(self, texts, *, special=False, workers=0):
        self.num_calls += 1
        pieces = self.special_ids | self.merges if special else self.merges
        pattern = "|".join(map(re.escape, pieces)) + "|."
        return [[pieces.get(p) or ord(p) for p in re.findall(pattern, text, re.DOTALL)] for text in texts]

    def encode(self, text, *, special=False):
        return self.encode_batch([text], special=special)[0]

    def piece_bytes(self, id):
        return self.spell(id).encode() if id not in self.special_ids.values() else b""

    def spell(self, id):
        return {i: p for p, i in (self.special_ids | self.merges).items()}.get(id) or chr(id)


def marked(documents: Documents, doc: TokenizedDoc | SeaError) -> str:
    """The document as text with its trained tokens in brackets."""
    assert isinstance(doc, TokenizedDoc), doc
    assert doc.ids.dtype == np.uint32 and doc.loss_mask.dtype == np.uint8 and len(doc.ids) == len(doc.loss_mask)
    spell = documents.tokenizer.spell
    text = "".join(f"[{spell(int(i))}]" if m else spell(int(i)) for i, m in zip(doc.ids, doc.loss_mask, strict=True))
    return text.replace("][", "")


def one(documents: Documents, record: dict) -> str:
    return marked(documents, documents.encode([record])[0])


TURNS = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<|end|>{% endfor %}"
HEADER = "{% if add_generation_prompt %}a:{% endif %}"
CHAT = ChatTemplate(TURNS + HEADER, "chat.jinja")


def turns(*contents: str) -> list[dict]:
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(contents)]


def test_text_is_trained_whole_but_for_its_first_token():
    assert one(Documents(FakeTokenizer()), {"text": "xab"}) == "<s>[xab</s>]"
    assert one(Documents(FakeTokenizer(bos=False)), {"text": "xab"}) == "x[ab</s>]"
    assert one(Documents(FakeTokenizer(eos=False)), {"text": "xab"}) == "<s>[xab]"
    assert one(Documents(FakeTokenizer(), add_eos=False), {"text": "xab"}) == "<s>[xab]"


def test_a_special_token_spelled_in_a_text_stays_text():
    (doc,) = Documents(FakeTokenizer()).encode([{"text": "<s></s>"}])
    assert doc.ids.tolist() == [1, *map(ord, "<s></s>"), 2]


def test_a_completion_is_trained_and_its_prompt_is_not():
    assert one(Documents(FakeTokenizer()), {"prompt": "xy", "completion": "z"}) == "<s>xy[z</s>]"


def test_a_token_that_spans_the_boundary_is_trained():
    assert one(Documents(FakeTokenizer()), {"prompt": "xa", "completion": "by"}) == "<s>x[aby</s>]"


def test_only_assistant_turns_are_trained_with_their_ends():
    text = one(Documents(FakeTokenizer(), CHAT), {"messages": turns("q", "r", "s", "t")})
    assert text == "<s>u:q<|end|>a:[r<|end|>]u:s<|end|>a:[t<|end|>]"


def test_turns_after_the_last_answer_are_kept_untrained():
    text = one(Documents(FakeTokenizer(), CHAT), {"messages": turns("q", "r", "s")})
    assert text == "<s>u:q<|end|>a:[r<|end|>]u:s<|end|>"


def test_a_template_that_writes_bos_gets_no_second_one():
    template = ChatTemplate("{{ bos_token }}" + CHAT.source, "x")
    assert one(Documents(FakeTokenizer(), template), {"messages": turns("q", "r")}) == "<s>u:q<|end|>a:[r<|end|>]"


def test_a_last_turn_without_an_end_gets_eos():
    plain = ChatTemplate("{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}" + HEADER, "x")
    assert one(Documents(FakeTokenizer(), plain), {"messages": turns("q", "r")}) == "<s>u:q;a:[r;</s>]"
    assert one(Documents(FakeTokenizer(), plain), {"messages": turns("q", "r", "s")}) == "<s>u:q;a:[r;]u:s;"
    assert one(Documents(FakeTokenizer(), plain, add_eos=False), {"messages": turns("q", "r")}) == "<s>u:q;a:[r;]"


def test_whitespace_after_the_end_of_turn_is_no_reason_for_eos():
    template = ChatTemplate("{% for m in messages %}{{ m.content }}<|end|>\n{{ '' }}{% endfor %}", "x")
    assert one(Documents(FakeTokenizer(), template), {"messages": turns("q", "r")}) == "<s>q<|end|>\n[r<|end|>\n]"


def test_a_token_that_spans_the_end_of_a_turn_is_trained():
    template = ChatTemplate("{% for m in messages %}{{ '\n' + m.content + '\n' }}{% endfor %}", "x")
    assert one(Documents(FakeTokenizer(), template), {"messages": turns("q", "r", "s")}) == "<s>\nq[\n\nr\n\n]s\n"


def test_a_prompt_of_messages_keeps_its_own_assistant_turns_untrained():
    record = {"prompt": turns("q", "r", "s"), "completion": [{"role": "assistant", "content": "t"}]}
    expected = "<s>u:q<|end|>a:r<|end|>u:s<|end|>a:[t<|end|>]"
    documents = Documents(FakeTokenizer(), CHAT)
    assert one(documents, record) == expected
    assert one(documents, record | {"completion": "t"}) == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"messages": turns("q")}, "nothing to train"),
        ({"messages": []}, "`messages` is empty"),
        ({"messages": "q"}, "not a list of messages"),
        ({"messages": [{"content": "q"}]}, "message 1 of `messages` has no `role`"),
        ({"messages": [{"role": "user", "content": [{"text": "q"}]}]}, "is not a string"),
        ({"prompt": "q", "completion": turns("q", "r")}, "give both as messages"),
        ({"prompt": turns("q"), "completion": turns("r")}, "nothing to train"),
        ({"text": ""}, "nothing to train"),
        ({"text": None}, "`text` is not a string"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"chosen": "x"}, "neither `text`"),
    ],
)
def test_a_bad_record_is_an_error_in_its_place(record, message):
    before, error, after = Documents(FakeTokenizer(), CHAT).encode([{"text": "x"}, record, {"text": "x"}])
    assert isinstance(before, TokenizedDoc) and isinstance(after, TokenizedDoc)
    assert isinstance(error, SeaError) and message in str(error)


def test_one_token_without_context_is_nothing_to_train():
    (error,) = Documents(FakeTokenizer(bos=False, eos=False)).encode([{"text": "x"}])
    assert isinstance(error, SeaError) and "nothing to train" in str(error)


def test_a_chat_without_a_template_is_told_to_give_one():
    (error,) = Documents(FakeTokenizer()).encode([{"messages": turns("q", "r")}])
    assert isinstance(error, SeaError) and "--chat-template FILE" in str(error)


def test_a_template_that_rewrites_earlier_turns_is_refused():
    # As Qwen3: only the last turn keeps its reasoning.
    template = ChatTemplate(
        "{% for m in messages %}{{ m.role[0] }}:{% if loop.last and m.role == 'assistant' %}(thinks){% endif %}"
        "{{ m.content }}<|end|>{% endfor %}" + HEADER,
        "qwen3.jinja",
    )
    single, double = Documents(FakeTokenizer(), template).encode(
        [{"messages": turns("q", "r")}, {"messages": turns("q", "r", "s", "t")}]
    )
    assert isinstance(single, TokenizedDoc)
    assert isinstance(double, SeaError) and "qwen3.jinja: the chat template rewrites earlier turns" in str(double)


def test_all_strings_of_a_kind_go_in_one_call():
    tokenizer = FakeTokenizer()
    records = [{"text": "x"}, {"messages": turns("q", "r")}, {"prompt": "a", "completion": "b"}]
    Documents(tokenizer, CHAT).encode(records * 5)
    assert tokenizer.num_calls == 2  # special tokens recognised, and not


def test_prompts_for_generation():
    documents = Documents(FakeTokenizer(), CHAT)

    def text(record):
        ids = documents.prompt_ids(record)
        assert ids.dtype == np.uint32
        return "".join(map(documents.tokenizer.spell, ids.tolist()))

    assert text({"prompt": "xab"}) == "<s>xab"
    assert text({"prompt": turns("q")}) == text({"messages": turns("q")}) == "<s>u:q<|end|>a:"
    assert text({"messages": turns("q", "the answer")}) == "<s>u:q<|end|>a:"


@pytest.mark.parametrize("record", [{"text": "x"}, {"prompt": turns("q", "r")}, {"prompt": []}, {"prompt": 3}])
def test_a_record_without_a_prompt_is_refused(record):
    with pytest.raises(SeaError):
        Documents(FakeTokenizer(), CHAT).prompt_ids(record)


def test_a_template_file_gets_its_tokens_from_the_tokenizer():
    template = ChatTemplate("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}", "x")
    assert one(Documents(FakeTokenizer(), template), {"messages": turns("q", "r")}) == "<s>q</s>[r</s>]"


def test_qwen2_chat_has_the_ids_of_transformers_and_trains_the_answers(shared):
    transformers = pytest.importorskip("transformers")
    from seatools.text.tokenizer import load_tokenizer

    folder = shared / "tokenizers" / "qwen2"
    tokenizer = load_tokenizer(folder)
    messages = turns("ສະບາຍດີ", "สวัสดีครับ\n\n", "\nHow are you?", "  Fine.")
    (doc,) = Documents(tokenizer, load_chat_template(folder)).encode([{"messages": messages}])
    oracle = transformers.AutoTokenizer.from_pretrained(folder)
    assert doc.ids.tolist() == oracle.apply_chat_template(messages, return_dict=False)
    assert oracle.decode(doc.ids[doc.loss_mask == 1]) == "สวัสดีครับ\n\n<|im_end|>\n  Fine.<|im_end|>\n"


def test_masks_are_those_of_transformers_for_a_template_that_marks_generation(shared):
    transformers = pytest.importorskip("transformers")
    from seatools.text.tokenizer import load_tokenizer

    source = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content + '<|im_end|>\n' }}{% endgeneration %}"
        "{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    folder = shared / "tokenizers" / "qwen2"
    conversations = [
        turns("ສະບາຍດີ", "สวัสดี ครับ", "Apa kabar?\n", "Baik.", "x"),
        [{"role": "system", "content": "မင်္ဂလာပါ"}, *turns("q", "កម្ពុជា  1234")],
        [*turns("a", "b"), {"role": "assistant", "content": "c"}],
    ]
    docs = Documents(load_tokenizer(folder), ChatTemplate(source, "x")).encode([{"messages": m} for m in conversations])
    oracle = transformers.AutoTokenizer.from_pretrained(folder)
    for doc, messages in zip(docs, conversations, strict=True):
        expected = oracle.apply_chat_template(messages, chat_template=source, return_assistant_tokens_mask=True)
        assert doc.ids.tolist() == expected["input_ids"]
        assert doc.loss_mask.tolist() == expected["assistant_masks"]


def test_stories260k_texts_and_completions(shared):
    from seatools.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(shared / "models" / "stories260K")
    text, pair = Documents(tokenizer).encode(
        [{"text": "Once upon a time"}, {"prompt": "Once upon", "completion": " a time"}]
    )
    assert text.ids.tolist() == [1, *tokenizer.encode("Once upon a time"), 2] == pair.ids.tolist()
    assert text.loss_mask.tolist() == [0] + [1] * (len(text.ids) - 1)
    assert tokenizer.decode(pair.ids[pair.loss_mask == 1].tolist()).strip() == "a time"
