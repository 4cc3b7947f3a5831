"""A tokenizer with one token a byte, so that every count can be done by hand: tokens = bytes + <s> + </s>."""

from __future__ import annotations

from pathlib import Path

import pytest
from mix_sources import write_records
from tiny_llama import write_tokenizer

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer folder without a chat template."""
    folder = tmp_path_factory.mktemp("byte-tokenizer")
    special = ("<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>")
    write_tokenizer(folder, names=("bos", "eos"), template=None, special=special)
    return folder


@pytest.fixture(scope="session")
def template_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat template file for it."""
    path = tmp_path_factory.mktemp("template") / "chat.jinja"
    path.write_text(TEMPLATE)
    return path


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    """Ten documents "a0"... of 2 bytes, and ten of "bbb0"... of 4, as sources."""
    a = write_records(tmp_path / "a.jsonl", [f"a{i}" for i in range(10)])
    return f"a={a}", f"b={write_records(tmp_path / 'b.jsonl', [f'bbb{i}' for i in range(10)])}"
