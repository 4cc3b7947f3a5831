"""Chat templates: parity with transformers, and the errors a user can cause."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from seatools.streams.errors import SeaError
from seatools.text.chat import ChatTemplate, load_chat_template

LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# Written over several lines, so that trim_blocks and lstrip_blocks matter; with break, namespace, dict and tojson.
CHATML = """\
{%- set state = namespace(turns=0) %}
{% for message in messages %}
    {% if loop.index0 >= 6 %}{% break %}{% endif %}
    {% set state.turns = state.turns + 1 %}
    {{- '<|im_start|>' + message['role'] + '\n' }}
    {% if message['role'] == 'assistant' %}
        {%- generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
    {% else %}
        {{- message['content'] + '<|im_end|>' }}
    {% endif %}
    {% if message.name is defined %}{{ dict(name=message.name) | tojson }}{% endif %}

{% endfor %}
{{ state.turns }} {{ unk_token }}{{ tools is none }}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""
NO_SYSTEM = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "[{{ message['role'] }}] {{ message['content'] | trim }}{{ eos_token }}{% endfor %}"
)
CONVERSATIONS = [
    [{"role": "user", "content": "สวัสดี <b>&"}],
    [{"role": "system", "content": "Kort."}, {"role": "user", "content": " a \n"}],
    [
        {"role": "user", "content": "hi", "name": 'ลาว "q" <x>'},
        {"role": "assistant", "content": "  hello\n\n", "tool_calls": None},
        {"role": "user", "content": "{{ 1 + 1 }} {% raw %}"},
        {"role": "assistant", "content": "<|im_end|>"},
    ],
    [{"role": role, "content": str(i)} for i, role in enumerate(["user", "assistant"] * 4)],
]


@pytest.fixture(scope="module")
def oracle(shared: Path):
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(shared / "tokenizers" / "qwen2")


@pytest.mark.parametrize("add_generation_prompt", [False, True])
@pytest.mark.parametrize("source", [None, LLAMA3, CHATML, NO_SYSTEM], ids=["qwen2", "llama3", "chatml", "no-system"])
def test_renders_what_transformers_renders(source, add_generation_prompt, oracle, shared, tmp_path):
    tokenizer_path = shared / "tokenizers" / "qwen2"
    if source is None:
        template = load_chat_template(tokenizer_path)
    else:
        (tmp_path / "own.jinja").write_text(source, encoding="utf-8")
        template = load_chat_template(tmp_path / "own.jinja", tokenizer_path=tokenizer_path)
    rendered = 0
    for messages in CONVERSATIONS:
        try:
            expected = oracle.apply_chat_template(
                messages, chat_template=source, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except Exception:  # what transformers refuses, we refuse
            with pytest.raises(SeaError, match="does not accept"):
                template.render(messages, add_generation_prompt=add_generation_prompt)
            continue
        assert template.render(messages, add_generation_prompt=add_generation_prompt) == expected
        rendered += 1
    # Qwen2 defines no BOS, so a template that adds to it (Llama 3's) refuses everything there.
    assert rendered == {None: 4, LLAMA3: 0, CHATML: 4, NO_SYSTEM: 3}[source]


def test_llama3_parity_with_a_bos_token(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    oracle = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()), bos_token="<|begin|>", chat_template=LLAMA3
    )
    template = ChatTemplate(LLAMA3, "x", {"bos_token": "<|begin|>"})
    for messages in CONVERSATIONS:
        expected = oracle.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert template.render(messages, add_generation_prompt=True) == expected
        assert expected.startswith("<|begin|>")


def test_reasoning_is_passed_under_every_name():
    template = ChatTemplate("{{ messages[0].reasoning_content }}|{{ messages[0].thinking }}", "x")
    assert template.render([{"role": "assistant", "content": "", "reasoning": "why"}]) == "why|why"


def folder_with(tmp_path: Path, config: dict, template: str | None = None) -> Path:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    if template is not None:
        (tmp_path / "chat_template.jinja").write_text(template, encoding="utf-8")
    return tmp_path


def test_the_jinja_file_comes_before_the_configuration(tmp_path):
    folder = folder_with(tmp_path, {"chat_template": "config", "bos_token": {"content": "<B>"}}, "{{ bos_token }}file")
    assert load_chat_template(folder).render([]) == "<B>file"


def test_a_list_of_templates_gives_the_default_one(tmp_path):
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain{{ eos_token }}"}]
    folder = folder_with(tmp_path, {"chat_template": named, "eos_token": "</s>"})
    assert load_chat_template(folder).render([]) == "plain</s>"


def test_a_list_without_a_default_is_refused_by_name(tmp_path):
    folder = folder_with(tmp_path, {"chat_template": [{"name": "tool_use", "template": "x"}]})
    with pytest.raises(SeaError, match="tokenizer_config.json: several chat templates .* tool_use"):
        load_chat_template(folder)


def test_a_tokenizer_file_stands_for_its_folder(tmp_path):
    folder = folder_with(tmp_path, {"chat_template": "config"})
    (folder / "tokenizer.json").write_text("{}")
    assert load_chat_template(folder / "tokenizer.json").render([]) == "config"


def test_a_folder_without_a_template_gives_none(shared):
    assert load_chat_template(shared / "models" / "stories260K") is None


def test_a_syntax_error_names_the_file_and_the_line(tmp_path):
    (tmp_path / "bad.jinja").write_text("fine\n{% for %}")
    with pytest.raises(SeaError, match=r"bad\.jinja: line 2 .*not valid Jinja"):
        load_chat_template(tmp_path / "bad.jinja")


def test_a_template_that_raises_names_the_file_and_its_reason(tmp_path):
    (tmp_path / "strict.jinja").write_text(NO_SYSTEM)
    template = load_chat_template(tmp_path / "strict.jinja")
    with pytest.raises(SeaError, match=r"strict\.jinja: .*System role not supported"):
        template.render([{"role": "system", "content": "x"}])


@pytest.mark.parametrize("source", ["{{ messages.append(1) }}", "{{ ''.__class__.__mro__ }}"])
def test_a_template_cannot_leave_its_sandbox(source):
    with pytest.raises(SeaError):
        ChatTemplate(source, "x").render([])


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SeaError, match="no such file or folder"):
        load_chat_template(tmp_path / "none.jinja")


def test_a_template_travels_to_worker_processes():
    template = ChatTemplate("{{ bos_token }}{{ messages[0].content }}", "x", {"bos_token": "<s>"})
    copy = pickle.loads(pickle.dumps(template))
    assert copy.render([{"role": "user", "content": "a"}]) == "<s>a"


def test_defaults_fill_only_what_the_configuration_lacks():
    template = ChatTemplate("{{ bos_token }}{{ eos_token }}", "x", {"bos_token": "<s>"})
    assert template.with_defaults({"bos_token": "other", "eos_token": "</s>"}).render([]) == "<s></s>"
