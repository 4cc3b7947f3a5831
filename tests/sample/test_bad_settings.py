"""What cannot be asked, or not so: refused before a model is loaded, or counted, with the record named."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_llama import write_jsonl, write_model, write_tokenizer

from seatools.engine.generator import OwnLoop

PROMPT = b'{"prompt": "a"}\n'
SHORT = ("--max-new-tokens", "4")
USER, SYSTEM = {"role": "user", "content": "hi"}, {"role": "system", "content": "be kind"}
DROPS = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}x"


@pytest.fixture
def unloaded(monkeypatch):
    monkeypatch.setattr("seatools.engine.load.load_model", lambda *_, **__: pytest.fail("loaded"))


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-n", 2, "--temperature", 0], "--temperature 0 gives the same answer 2 times"),
        (["-n", 1, "--best-of", 4, "--temperature", 0], "the same answer 4 times"),
        (["-n", 2, "--top-k", 1], "--top-k 1 gives the same answer 2 times"),
        (["-n", 3, "--best-of", 2], "--best-of 2 is fewer than -n 3"),
        (["--best-of", 2, "--engine", "vllm"], "--engine own"),
        (["--best-of", 2, "--engine", "http://localhost:1/v1"], "--engine own"),
        (["--engine", "fast"], "unknown --engine 'fast'"),
        (["--repetition-penalty", 0], "repetition_penalty is 0"),
        (["--repetition-penalty", 1.2, "--engine", "transformers"], "--engine own"),
        (["--temperature", "nan"], "temperature is nan"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(sea, byte_model, options, words):
    result = sea("sample", byte_model, *options, stdin=PROMPT)
    assert (result.code, result.stdout) == (2, b"")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) <= 3


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(("template", "words"), [(DROPS, "leaves the system turn out"), (REFUSES, "System role not")])
def test_a_template_without_a_system_turn(sea, byte_model, tmp_path, template, words):
    (tmp_path / "t.jinja").write_text(template)
    run = ["sample", byte_model, "--chat-template", tmp_path / "t.jinja", "--max-new-tokens", 3]
    result = sea(*run, "--system", "be kind", stdin=json.dumps({"prompt": [USER]}).encode())
    assert result.code == 2 and words in result.stderr and "--chat-template" in result.stderr
    result = sea(*run, stdin=PROMPT + json.dumps({"prompt": [SYSTEM, USER]}).encode())
    assert result.code == 1 and "stdin:2: " in result.stderr and words in result.stderr


def test_a_record_whose_system_turn_would_be_lost_is_a_reject(sea, byte_model, tmp_path):
    (tmp_path / "t.jinja").write_text(DROPS)
    given = b"".join(json.dumps({"prompt": turns}).encode() + b"\n" for turns in ([SYSTEM, USER], [USER]))
    result = sea(
        "sample", byte_model, "--chat-template", tmp_path / "t.jinja", "--max-new-tokens", 3, "--on-error", "skip",
        stdin=given,
    )  # fmt: skip
    assert result.code == 0 and "bad prompt 1" in result.stderr
    assert [json.loads(line)["prompt"] for line in result.stdout.splitlines()] == [[USER]]


@pytest.mark.parametrize("prompt", [" \n", [USER, {"role": "user", "content": " "}], [SYSTEM]])
def test_a_prompt_of_white_space_is_empty(sea, byte_model, prompt):
    result = sea("sample", byte_model, *SHORT, stdin=PROMPT + json.dumps({"prompt": prompt}).encode())
    assert result.code == 1 and "stdin:2: the prompt is empty" in result.stderr


def test_a_terminal_is_no_input(byte_model, monkeypatch, capsys):
    from seatools.cli import main

    class Terminal:
        closed = False

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    assert main(["sample", str(byte_model), *SHORT]) == 2
    assert "stdin is a terminal" in capsys.readouterr().err


def test_chat_asks_strings_as_a_user(sea, byte_model):
    run = ["sample", byte_model, "-n", 3, "--max-new-tokens", 8]
    as_turns = json.loads(sea(*run, stdin=json.dumps({"prompt": [USER]}).encode()).stdout)
    chat = sea(*run, "--chat", stdin=b'{"prompt": "hi"}')
    asked = json.loads(chat.stdout)
    assert asked["responses"] == as_turns["responses"]
    assert asked["prompt"] == [USER]  # what judge and dpo are to read
    assert "--chat" not in chat.stderr
    hint = sea(*run, stdin=b'{"prompt": "hi"}')
    assert "1 prompt is a string, which is continued as it stands; --chat" in hint.stderr
    assert json.loads(hint.stdout)["prompt"] == "hi"


def test_the_prompt_that_was_asked_has_the_system_turn(sea, byte_model):
    result = sea("sample", byte_model, "--max-new-tokens", 2, "--system", "be kind", stdin=b'{"prompt": "hi"}')
    assert json.loads(result.stdout)["prompt"] == [SYSTEM, USER]


def test_chat_needs_a_template(sea, piece_model):
    result = sea("sample", piece_model, "--chat", stdin=PROMPT)
    assert result.code == 2 and "--chat needs a chat template" in result.stderr


@pytest.fixture(scope="module")
def broken_model(tmp_path_factory) -> Path:
    """Gives NaN after the byte z alone."""
    import torch
    from safetensors.torch import load_file, save_file

    from seatools.text.tokenizer import load_tokenizer

    folder = tmp_path_factory.mktemp("broken") / "model"
    write_tokenizer(folder)
    write_model(folder)
    weights = load_file(folder / "model.safetensors")
    (token,) = load_tokenizer(folder).encode("z")
    weights["model.embed_tokens.weight"][token] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_logits_that_are_not_numbers_name_the_record(sea, broken_model, tmp_path, monkeypatch):
    monkeypatch.setattr("seatools.engine.packed_generation.unpackable", lambda _: None)
    monkeypatch.setattr("seatools.engine.generate.unpackable", lambda _: None)
    given = write_jsonl(tmp_path / "p.jsonl", [{"prompt": text} for text in ("a", "z", "b")])
    run = ["sample", broken_model, given, "--max-new-tokens", 2, "--top-k", 1]
    result = sea(*run)
    assert result.code == 1 and f"{given}:2: the model gave logits that are not finite" in result.stderr
    result = sea(*run, "--on-error", "skip", "-o", tmp_path / "out.jsonl")
    assert result.code == 0, result.stderr
    assert "no answer 1" in result.stderr
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [record["prompt"] for record in found] == ["a", "b"]


# A server


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))  # type: ignore[attr-defined]
        text = f" {body['seed']}"
        message = {"text": text} if "prompt" in body else {"message": {"content": text}}
        content = json.dumps({"choices": [message | {"finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


def test_a_server_needs_no_model_here(sea, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        given = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "a"}, {"prompt": [USER]}, {"prompt": "a"}])
        run = ["sample", "some/model", given, "-n", 2, "--engine", url, "--repetition-penalty", 1.5]
        result = sea(*run)
        again = sea(*run, "--system", "be kind")
    finally:
        server.shutdown()
        server.server_close()
    assert result.code == again.code == 0, result.stderr + again.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert found[0]["responses"] == found[2]["responses"]
    assert len({text for record in found for text in record["responses"]}) == 4
    assert found[0]["responses"][0].startswith(" ") and not found[1]["responses"][0].startswith(" ")
    assert {"model": "some/model", "engine": url, "repetition_penalty": 1.5}.items() <= found[0]["sampling"].items()
    asked = server.asked[:4]  # type: ignore[attr-defined]
    assert sorted(path for path, _ in asked) == ["/v1/chat/completions"] * 2 + ["/v1/completions"] * 2
    assert all(body["repetition_penalty"] == 1.5 for _, body in asked)
    assert {path for path, _ in server.asked[4:]} == {"/v1/chat/completions"}  # type: ignore[attr-defined]


def test_vllm_is_named_where_it_is_missing(sea, byte_model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vllm", None)
    result = sea("sample", byte_model, *SHORT, "--engine", "vllm", stdin=PROMPT)
    assert result.code == 1 and "vllm" in result.stderr


def test_transformers_engine_answers(sea, byte_model):
    own = sea("sample", byte_model, "-n", 2, "--max-new-tokens", 5, stdin=PROMPT)
    theirs = sea("sample", byte_model, "-n", 2, "--max-new-tokens", 5, "--engine", "transformers", stdin=PROMPT)
    one, other = json.loads(own.stdout), json.loads(theirs.stdout)
    assert one["responses"] == other["responses"]
    assert (one["sampling"]["engine"], other["sampling"]["engine"]) == ("own", "transformers")


def test_a_failure_in_the_engine_is_not_taken_for_an_answer(sea, byte_model, tmp_path, monkeypatch):
    monkeypatch.setattr(OwnLoop, "run", lambda *_: (_ for _ in ()).throw(OSError(12, "Cannot allocate memory")))
    result = sea("sample", byte_model, *SHORT, "-o", tmp_path / "out.jsonl", stdin=PROMPT)
    assert result.code == 1 and list(tmp_path.iterdir()) == []
