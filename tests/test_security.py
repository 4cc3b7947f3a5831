"""What no file can make sea do: run code, leave its folder, fill the memory with a bomb, show private data."""

from __future__ import annotations

import ast
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from tiny_llama import write_model, write_tokenizer

import seatools
from seatools.streams.errors import SeaError
from seatools.streams.records import MAX_LINE_BYTES, RecordReader

SOURCES = sorted(Path(seatools.__file__).parent.rglob("*.py"))
# Modules that make objects or code of data, and calls that do. torch.load unpickles also with weights_only=True.
MODULES = {
    "pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "yaml",
    "xml",
    "imp",
    "runpy",
    "code",
}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "np.load",
    "numpy.load",
    "os.system",
    "os.popen",
    "importlib.util.spec_from_file_location",
    "yaml.load",
    "torch.hub.load",
    "tempfile.mktemp",
}
FLAGS = {"trust_remote_code": True, "shell": True, "allow_pickle": True, "use_safetensors": False}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name or attribute, else ""."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def offences(source: str) -> Iterator[str]:
    """What a module does that it must not, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            if dotted(node.func) in CALLS:
                yield f"{node.lineno}: {dotted(node.func)}()"
            for keyword in node.keywords:
                if keyword.arg in FLAGS and not _is_safe(keyword):
                    yield f"{node.lineno}: {keyword.arg}={ast.unparse(keyword.value)}"


def _is_safe(keyword: ast.keyword) -> bool:
    return isinstance(keyword.value, ast.Constant) and keyword.value.value == (not FLAGS[str(keyword.arg)])


def test_no_module_makes_code_of_data() -> None:
    assert len(SOURCES) > 300
    found = {path.name: list(offences(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert {name: told for name, told in found.items() if told} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from torch.hub import load\nimport yaml",
        "eval('1')",
        "import torch\ntorch.load(x)",
        "f(trust_remote_code=True)",
        "subprocess.run(x, shell=True)",
        "np.load(x, allow_pickle=flag)",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert list(offences(source))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of two files with their index, and a safetensors file outside of it."""
    folder = write_model(tmp_path / "model")
    write_tokenizer(folder)
    os.rename(folder / "model.safetensors", folder / "model-00001-of-00001.safetensors")
    (tmp_path / "outside.safetensors").write_bytes((folder / "model-00001-of-00001.safetensors").read_bytes())
    return folder


@pytest.mark.parametrize("name", ["../outside.safetensors", "ABSOLUTE", "sub/../../outside.safetensors", "..", "a\0b"])
def test_an_index_cannot_name_a_file_outside_its_folder(model: Path, tmp_path: Path, name: str) -> None:
    from seatools.engine.load import check_folder
    from seatools.streams.tensors import read_header
    from seatools.streams.weight_headers import weight_files

    name = str(tmp_path / "outside.safetensors") if name == "ABSOLUTE" else name
    tensors, _, _ = read_header(model / "model-00001-of-00001.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(tensors, name)}))
    for read in (check_folder, weight_files):
        with pytest.raises(SeaError):
            read(model)


def test_every_command_that_loads_a_model_refuses_such_an_index(model: Path, tmp_path: Path, sea) -> None:
    weights = {"lm_head.weight": "../outside.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    (tmp_path / "t.jsonl").write_text(
        '{"text": "kaya", "prompt": "a", "responses": ["b", "c"], "chosen": "x", "rejected": "y"}\n'
    )
    text, out = tmp_path / "t.jsonl", tmp_path / "out"
    for argv in (
        ["sample", model, text],
        ["judge", model, text],
        ["eval", model, "perplexity", "--data", f"th={text}"],
        ["train", model, text, "-o", out],
        ["dpo", model, text, "-o", out],
        ["embed-init", model, "--tokenizer", model, "-o", out],
        ["lsn-detect", model, "--lang", f"th={text}", "--lang", f"en={text}", "-o", out],
    ):
        result = sea(*argv)
        assert result.code == 1 and "not a file of this folder" in result.stderr, (argv[0], result)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_bomb_is_refused_by_its_line_in_little_memory(tmp_path: Path, kind: str) -> None:
    """A record of 100 MB in 3 to 450 KB: refused with its line, and the line after it is read."""
    import tracemalloc

    size, path = 100 << 20, tmp_path / f"bomb.jsonl.{kind}"
    with path.open("wb") as raw:
        packer = (
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1)
            if kind == "gz"
            else zstandard.ZstdCompressor().stream_writer(raw)
        )
        with packer as stream:
            stream.write(b'{"text": "')
            for _ in range(size >> 20):
                stream.write(b"a" * (1 << 20))
            stream.write(b'"}\n{"text": "b"}\n')
    assert path.stat().st_size < size / 200
    tracemalloc.start()
    with pytest.raises(SeaError, match=rf"bomb\.jsonl\.{kind}:1: a line of {size + 13:,} bytes"):
        list(RecordReader(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MAX_LINE_BYTES


def test_a_zstd_window_of_gigabytes_is_refused(tmp_path: Path) -> None:
    """A frame whose header asks for a window of 2 GiB: zstandard's own limit of 128 MiB stands."""
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, (31 - 10) << 3]) + b"\x01\x00\x00"
    (tmp_path / "a.jsonl.zst").write_bytes(frame)
    with pytest.raises(SeaError, match="the compressed stream is broken"):
        list(RecordReader(str(tmp_path / "a.jsonl.zst")))


def test_a_header_that_promises_gigabytes_is_refused_before_they_are_read(tmp_path: Path) -> None:
    from seatools.streams.tensors import read_header

    path = tmp_path / "a.safetensors"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(SeaError, match="not a safetensors file, or cut off"):
        read_header(path)


def test_the_spool_of_stdin_is_private_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    from seatools.streams.spool import spooled

    class Standard(io.TextIOWrapper):
        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Standard(io.BytesIO(b"secret\n")))
    with spooled(["-"], tmp_path) as ([path], _):
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert not list(tmp_path.iterdir())


TEMPLATES = {
    "a loop in a loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a text of ten gigabytes": "{{ 'a' * 10**10 }}",
    "doubled a hundred times": "{% set n=namespace(s='a') %}{% for i in range(99) %}{% set n.s=n.s~n.s %}{% endfor %}",
    "a macro twice in itself": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(99) }}",
    "a filter that fills": "{{ 'a' | center(10000000000) }}",
    "a method that fills": "{{ 'a'.ljust(10000000000) }}",
    "a format that fills": "{{ '%10000000000d' % 1 }}",
    "another format that fills": "{{ '{:{w}}'.format(1, w=10000000000) }}",
    "a number of a gigabyte": "{{ 99999 ** 99999 ** 9 }}",
    "replaced by more": "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "joined": "{{ (['a' * 100000] * 100000) | join }}",
    "the interpreter": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "a global's globals": "{{ raise_exception.__globals__ }}",
    "nested without end": "{{ " + "(" * 5000 + " }}",
}


@pytest.mark.parametrize("what", TEMPLATES)
def test_a_chat_template_cannot_compute_without_end(what: str) -> None:
    """Refused, or (the sandbox's way with underscores) nothing; within a few seconds and without the memory."""
    from seatools.text.chat import ChatTemplate

    try:
        text = ChatTemplate(TEMPLATES[what], "t.jinja").render([{"role": "user", "content": "a"}])
    except SeaError as error:
        assert "t.jinja" in str(error)
    else:
        assert text == ""
