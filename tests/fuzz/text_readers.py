"""Readers of the tokenizer side: tokenizer files of every kind, chat templates, packed data."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from pathlib import Path

import numpy as np
from fuzz.contract import check, workplace
from fuzz.layouts import as_input, files_of, folder_input, header_input, tensor_file, write_folder
from tiny_sentencepiece import write_fallback_json, write_sentencepiece

from seatools.streams.errors import SeaError
from seatools.text import template_limits
from seatools.text.chat import load_chat_template
from seatools.text.documents import TokenizedDoc
from seatools.text.packed import read_packed, write_packed
from seatools.text.packed_shards import read_packed_files, shard_paths
from seatools.text.packing import Segment
from seatools.text.token_bytes import token_num_bytes
from seatools.text.tokenizer import load_tokenizer

_SMALL = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tekken.json", "gpt2.tiktoken", *_SMALL)
_PROBES = ["ab a", " <s>x</s>", "กำ\n", ""]
_MOST = template_limits.LONGEST


def read_tokenizer(data: bytes, folder: Path) -> None:
    """A folder of tokenizer files: ids in range, bytes counted, and its copy is the same tokenizer."""
    write_folder(data, folder, _FILES)
    tokenizer = load_tokenizer(folder, pattern=None)
    ids = tokenizer.encode_batch(_PROBES, workers=1)
    check(all(0 <= id < tokenizer.vocab_size for row in ids for id in row), "an id out of range")
    for special in (False, True):
        tokenizer.encode_batch(_PROBES, special=special, workers=1)
    for row in ids:
        tokenizer.decode(row)
    for id in (tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id):
        check(id is None or 0 <= id < tokenizer.vocab_size, "a role with an id out of range")
    check(len(token_num_bytes(tokenizer)) == tokenizer.vocab_size, "not a number of bytes for each id")
    with workplace() as copy:
        tokenizer.save(copy)
        again = load_tokenizer(copy)
        check(again.digest() == tokenizer.digest(), "the copy is another tokenizer")
        check(again.encode_batch(_PROBES, workers=1) == ids, "the copy gives other ids")


def read_ranks(data: bytes, folder: Path) -> None:
    """A tiktoken rank file with a preset's pattern."""
    (folder / "x.tiktoken").write_bytes(_with_bytes(data))
    tokenizer = load_tokenizer(folder / "x.tiktoken", pattern="gpt2")
    for text in _PROBES:
        check(tokenizer.decode(tokenizer.encode(text)) == text, "a text does not come back")


def _with_bytes(data: bytes) -> bytes:
    """`data` after the 256 lines that every such file must have, unless it begins with RAW."""
    if data.startswith(b"RAW"):
        return data[3:]
    return b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256)) + data


def read_sentencepiece(data: bytes, folder: Path) -> None:
    """tokenizer.model alone."""
    (folder / "tokenizer.model").write_bytes(data)
    tokenizer = load_tokenizer(folder)
    ids = tokenizer.encode_batch(_PROBES, workers=1)
    check(all(0 <= id < tokenizer.vocab_size for row in ids for id in row), "an id out of range")
    tokenizer.decode(ids[0])
    token_num_bytes(tokenizer)


def read_chat(data: bytes, folder: Path) -> None:
    """A chat template as its own file or in tokenizer_config.json: a text of bounded length, or a refusal."""
    if not files_of(data):
        (folder / "chat_template.jinja").write_bytes(data)
    write_folder(data, folder, _SMALL)
    template = load_chat_template(folder)
    if template is None:
        return
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "tool_calls": None}]
    for prompt in (False, True):
        rendered = template.render(messages, add_generation_prompt=prompt)
        check(isinstance(rendered, str) and len(rendered) <= _MOST, "no text, or one without bounds")


def read_packed_data(data: bytes, folder: Path) -> None:
    """Packed data: every row is read within the file; several files as one."""
    files = files_of(data)
    if files:
        write_folder(data, folder, ("part-00000.safetensors", "part-00001.safetensors"))
        paths = shard_paths(folder)
        if not paths:
            raise SeaError("no parts")
        packed = read_packed_files(paths)
    else:
        (folder / "p.safetensors").write_bytes(tensor_file(data))
        packed = read_packed(folder / "p.safetensors")
    tokens = targets = 0
    for row in range(packed.num_rows):
        documents = packed.row(row)
        check(len(documents) == len(packed.row_lens(row)) == len(packed.row_sources(row)), "documents of a row")
        check(all(0 <= source < len(packed.sources) for source in packed.row_sources(row)), "a source without a name")
        for ids, mask in documents:
            check(len(ids) == len(mask) > 0, "a document without tokens")
            tokens, targets = tokens + len(ids), targets + int(np.count_nonzero(mask))
    check(tokens == packed.num_tokens, "tokens that are in no row")
    check(0 <= packed.num_targets <= tokens and targets <= tokens, "more targets than tokens")
    check(all(isinstance(name, str) for name in packed.sources), "a source that is no name")


def _tokenizer_seeds() -> list[bytes]:
    config = json.dumps(
        {
            "bos_token": "<s>",
            "eos_token": {"content": "</s>", "lstrip": False},
            "unk_token": None,
            "added_tokens_decoder": {"2": {"content": "</s>", "special": True}},
        }
    ).encode()
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5, "▁": 6}
    bpe = {
        "version": "1.0",
        "added_tokens": [{"id": 1, "content": "<s>", "special": True}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a+|."}, "behavior": "Isolated", "invert": False},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "truncation": None,
        "padding": None,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": ["a b"], "unk_token": "<unk>", "byte_fallback": False},
    }
    unigram = bpe | {
        "model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.0], ["▁", -2]], "unk_id": 0},
        "added_tokens": [],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    }
    template = {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        }
    }
    tekken = {
        "config": {
            "pattern": "(?s:.)",
            "num_vocab_tokens": 258,
            "default_vocab_size": 260,
            "default_num_special_tokens": 3,
            "version": "v3",
        },
        "special_tokens": [{"rank": 0, "token_str": "<unk>"}, {"rank": 1, "token_str": "<s>"}],
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(bytes([i])).decode(), "token_str": None} for i in range(256)
        ]
        + [{"rank": 256, "token_bytes": "YWI=", "token_str": "ab"}],
    }
    with workplace() as folder:
        write_sentencepiece(folder / "sp", byte_fallback=False)
        model = (folder / "sp" / "tokenizer.model").read_bytes()
        write_fallback_json(folder / "json")
        fallback = (folder / "json" / "tokenizer.json").read_bytes()
    added = b'{"<x>": 7}'
    return [
        folder_input({"tokenizer.json": json.dumps(bpe).encode(), "tokenizer_config.json": config}),
        folder_input({"tokenizer.json": json.dumps(unigram).encode(), "added_tokens.json": added}),
        folder_input(
            {"tokenizer.json": json.dumps(bpe | template).encode(), "special_tokens_map.json": b'{"pad_token": "<p>"}'}
        ),
        folder_input({"tokenizer.json": fallback, "tokenizer_config.json": config}),
        folder_input({"tokenizer.model": model, "tokenizer_config.json": config, "added_tokens.json": added}),
        folder_input(
            {"vocab.json": b'{"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}', "merges.txt": b"#version: 0.2\na b\n"}
        ),
        folder_input(
            {
                "vocab.json": b'{"a": 0, "b": 1, "ab": 2}',
                "merges.txt": b"a b\n",
                "tokenizer_config.json": b'{"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": true}',
            }
        ),
        folder_input({"tekken.json": json.dumps(tekken).encode()}),
    ]


def _sentencepiece_seeds() -> list[bytes]:
    with workplace() as folder:
        write_sentencepiece(folder / "a", byte_fallback=False)
        write_sentencepiece(folder / "b", ["▁a", "b"], byte_fallback=True)
        return [(folder / name / "tokenizer.model").read_bytes() for name in "ab"]


def _packed_seeds() -> list[bytes]:
    def doc(*ids: int) -> TokenizedDoc:
        return TokenizedDoc(np.array(ids, np.uint32), np.array([0] + [1] * (len(ids) - 1), np.uint8))

    def file(**extra: str) -> bytes:
        stream = io.BytesIO()
        write_packed(
            stream,
            [[Segment(0, 0, 3), Segment(1, 0, 1)], [Segment(2, 0, 4)]],
            [doc(1, 2, 3), doc(4), doc(5, 6, 7, 8)],
            [0, 1, 1],
            row_length=4,
            tokenizer_digest="aa",
            sources=["en", "th"],
            extra=extra,
        )
        return as_input(stream.getvalue())

    parts = {f"part-0000{i}.safetensors": file(part=str(i), parts="2") for i in range(2)}
    return [file(), folder_input(parts), header_input({"input_ids": ("U32", [1], 4)}, {"format": "sea-packed"})]


_CHATML = (
    b"{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message.content | trim }}{% endfor %}"
    b"{% if add_generation_prompt %}{{ bos_token }}assistant{% endif %}"
)
SEEDS: dict[str, list[bytes]] = {}
with contextlib.suppress(SeaError):
    SEEDS = {
        "tokenizer": _tokenizer_seeds(),
        "ranks": [b"YWI= 256\nYWJj 257\n", b"", b"RAWYQ== 0\nYg== 1\n", b"ICA= 300\r\n"],
        "sentencepiece": _sentencepiece_seeds(),
        "chat": [
            _CHATML,
            b"{%- set ns=namespace(n=0) -%}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ m|tojson }}{% endfor %}",
            b"{% macro x(a, b=2) %}{{ a * b }}{% endmacro %}{% for i in range(3) %}{{ x(i) }}{% break %}{% endfor %}",
            b"{% generation %}{{ messages[0]['content'].replace('a', 'b').split(',') | join('x') }}{% endgeneration %}",
            b"{{ raise_exception('no') if messages | length > 3 else strftime_now('%Y') }}{{ dict(a=1) | items }}",
            folder_input(
                {
                    "tokenizer_config.json": b'{"chat_template": [{"name": "default", "template": "{{ bos_token }}"}], '
                    b'"bos_token": {"content": "<s>"}}'
                }
            ),
            folder_input(
                {"tokenizer_config.json": b'{"chat_template": "x"}', "special_tokens_map.json": b'{"eos_token": "y"}'}
            ),
        ],
        "packed": _packed_seeds(),
    }
