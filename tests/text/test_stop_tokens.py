"""Which tokens end an answer."""

from __future__ import annotations

import json

import pytest
from tiny_llama import write_tokenizer

from seatools.streams.errors import SeaError
from seatools.text.documents import load_documents
from seatools.text.stop_tokens import stop_ids, turn_end_ids
from seatools.text.tokenizer import load_tokenizer


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(("named", "more"), [(7, {7}), ([7, 9], {7, 9}), (None, set())])
def test_answers_end_at_eos_bos_and_what_the_model_names(tmp_path, name, named, more):
    write_tokenizer(tmp_path)
    (tmp_path / name).write_text(json.dumps({"eos_token_id": named}))
    assert stop_ids(load_tokenizer(tmp_path), tmp_path) == {1, 2} | more


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_generation_config_is_named(tmp_path, content):
    write_tokenizer(tmp_path)
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(SeaError, match=r"generation_config.json: is not a JSON object"):
        stop_ids(load_tokenizer(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("template", "ends"),
    [
        ("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}", {2, 3}),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}", {2}),
        ("{{ raise_exception('no') }}", {2}),
        (None, {2}),
    ],
)
def test_a_turn_ends_with_eos_or_what_the_template_puts_after_it(tmp_path, template, ends):
    write_tokenizer(tmp_path, template=template, special=("<pad>", "<s>", "</s>", "<|end|>", "<|user|>"))
    assert turn_end_ids(load_documents(tmp_path)) == ends
