"""Chats and judges from the command line: templates, two turns, recorded and local judges, harmful text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import TEMPLATE, write_jsonl, write_model, write_tokenizer

BENCH = {
    "unit_id": 7, "type": "math", "user_1": "2 + 2?", "user_2": "And 3 more?", "reference_1": "4", "reference_2": "7",
}  # fmt: skip


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    write_tokenizer(folder, template=TEMPLATE)
    return write_model(folder, max_position_embeddings=8192)


def scores(result: Any) -> list[dict[str, Any]]:
    assert result.code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> list[Any]:
    rows = [BENCH, BENCH | {"unit_id": 8, "user_1": "1 + 1?"}]
    return ["seabench", "--data", f"th={write_jsonl(tmp_path / 'b.jsonl', rows)}", "--max-new-tokens", "8"]


def recorded(path: Path, marks: dict[tuple[int, int], str]) -> Path:
    return write_jsonl(path, [{"id": unit, "turn": turn, "text": text} for (unit, turn), text in marks.items()])


def test_recorded_judgements_make_the_mark(sea, chat_folder, bench, tmp_path):
    said = {(7, 1): "Good. [[8]]", (7, 2): "Bad: [[3]]", (8, 1): "Fine [[6]]", (8, 2): "no mark at all"}
    samples = tmp_path / "s.jsonl"
    judge = ["--judge", recorded(tmp_path / "j.jsonl", said), "--samples", samples]
    (row,) = scores(sea("eval", chat_folder, *bench, *judge))
    assert (row["metric"], row["n"], row["config"]["unparsed"]) == ("mark", 4, 1)
    assert row["value"] == pytest.approx((8 + 3 + 6) / 3)
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    assert [line["scoring"] for line in lines] == ["answer"] * 2 + ["mark"] * 4
    assert len(lines[0]["result"]["answers"]) == 2
    again = scores(sea("eval", "score", samples))
    assert [(one["metric"], one["value"]) for one in again] == [("mark", row["value"])]


def test_the_second_turn_reads_the_answer_to_the_first(sea, chat_folder, bench, tmp_path):
    from seatools.engine.generate import SamplingOptions, generate
    from seatools.engine.load import load_model
    from seatools.text.documents import load_documents
    from seatools.text.stop_tokens import stop_ids

    said = {(unit, turn): "[[5]]" for unit in (7, 8) for turn in (1, 2)}
    samples = tmp_path / "s.jsonl"
    scores(sea("eval", chat_folder, *bench, "--judge", recorded(tmp_path / "j.jsonl", said), "--samples", samples))
    answers = json.loads(samples.read_text().splitlines()[0])["result"]["answers"]
    import torch

    model = load_model(chat_folder, device="cpu", dtype=torch.float32)
    documents = load_documents(chat_folder, add_eos=False)
    options = SamplingOptions(max_new_tokens=8, temperature=0, stop_ids=stop_ids(documents.tokenizer, chat_folder))
    chat = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "2 + 2?"}]
    for number, answer in enumerate(answers):
        ids = documents.prompt_ids({"prompt": chat}).tolist()
        (made,) = generate(model, [ids], options, seeds=[0], decode=documents.tokenizer.decode)
        assert (made.text or "").strip() == answer, number
        chat += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And 3 more?"}]


def test_answers_without_a_judgement_are_counted_and_nothing_is_lost(sea, chat_folder, bench, tmp_path):
    judge = ["--judge", recorded(tmp_path / "j.jsonl", {(7, 1): "[[8]]"}), "--samples", tmp_path / "s.jsonl"]
    result = sea("eval", chat_folder, *bench, *judge)
    assert result.code == 1 and "3 of 4 answers have no judgement; the first is id 7, th, turn 2" in result.stderr
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 2


def test_a_local_judge_is_asked_by_its_own_template(sea, chat_folder, bench, tmp_path):
    own = tmp_path / "short.toml"
    own.write_text(sea("eval", "tasks", "seabench").stdout.decode().replace("judge_tokens = 1024", "judge_tokens = 16"))
    (row,) = scores(sea("eval", chat_folder, own, *bench[1:], "--judge", chat_folder))
    assert (row["n"], row["config"]["unparsed"], row["value"]) == (4, 4, None)  # noise gives no mark
    assert row["config"]["judge"] == chat_folder.name and len(row["config"]["judge_digest"]) == 16


def test_a_verdict_replaces_the_phrases_and_harmful_text_is_not_shown(sea, chat_folder, tmp_path):
    rows = [{"id": n, "source": "s", "tags": [], "en": f"do harm {n}", "th": "ร้าย"} for n in range(2)]
    data = ["multijail", "--data", f"en={write_jsonl(tmp_path / 'm.jsonl', rows)}", "--max-new-tokens", "4"]
    plain = sea("eval", chat_folder, *data, "-v")
    assert scores(plain)[0]["config"]["judged_by_phrases"] == 2
    assert "do harm" not in plain.stderr and "not shown" in plain.stderr
    said = write_jsonl(tmp_path / "j.jsonl", [{"id": 0, "verdict": "safe"}, {"id": 1, "text": "Helps. [[unsafe]]"}])
    judged = scores(sea("eval", chat_folder, *data, "--judge", said))
    assert [(row["metric"], row["value"]) for row in judged] == [
        ("safe_rate", 0.5), ("unsafe_rate", 0.5), ("invalid_rate", 0.0),
    ]  # fmt: skip
    assert judged[0]["config"]["judged_by_phrases"] == 0


@pytest.mark.parametrize(
    "more, code, words",
    [
        ([], 2, "seabench needs a judge\n  fix: --judge MODEL"),
        (["--judge", "nowhere"], 2, "neither a model folder, a file of judgements, nor a URL"),
        (["--judge", "http://localhost:1/v1"], 2, "names no model"),
        (["--judge", "http://localhost:1/v1#m", "--no-chat"], 2, "asked as a chat only"),
    ],
)
def test_judges_that_cannot_be_are_refused(sea, chat_folder, bench, more, code, words):
    result = sea("eval", chat_folder, *bench, *more)
    assert result.code == code and words in result.stderr


def test_a_chat_task_on_a_base_model_is_refused_before_loading(sea, model_folder, bench, tmp_path, monkeypatch):
    monkeypatch.setattr("seatools.engine.load.open_model", lambda *_, **__: pytest.fail("loaded"))
    judge = ["--judge", recorded(tmp_path / "j.jsonl", {(7, 1): "[[8]]"})]
    result = sea("eval", model_folder, *bench, *judge)
    assert result.code == 1 and "has no chat template\n  fix: give one with --chat-template FILE" in result.stderr


def test_choices_in_a_chat_follow_the_assistants_header(sea, chat_folder, tmp_path):
    data = write_jsonl(tmp_path / "q.jsonl", [{"question": "2 + 2?", "choices": ["three", "four"], "answer": 1}])
    result = sea("eval", chat_folder, "choice", "--data", f"en={data}", "--chat", "--system", "Be brief.", "-v")
    row = scores(result)[0]
    assert "<|system|>Be brief.<|user|>Question: 2 + 2?\nAnswer:<|assistant|>three" in result.stderr
    assert "1 BOS, the last 5 scored" in result.stderr
    assert (row["config"]["chat"], row["config"]["system"]) == (True, "Be brief.")
    assert len(row["config"]["template_digest"]) == 16


def test_judged_answers_of_two_runs_are_compared_by_their_marks(sea, chat_folder, bench, tmp_path):
    files = []
    for name, mark in (("a", 4), ("b", 6)):
        said = {(unit, turn): f"[[{mark + turn}]]" for unit in (7, 8) for turn in (1, 2)}
        files.append(tmp_path / f"run-{name}.jsonl")
        judge = recorded(tmp_path / f"{name}.judge.jsonl", said)
        scores(sea("eval", chat_folder, *bench, "--judge", judge, "--samples", files[-1]))
    rows = [json.loads(line) for line in sea("eval", "compare", *files, "--json").stdout.splitlines()]
    assert [(row["task"], row["metric"], row["difference"]) for row in rows] == [("seabench", "mark", 2.0)]


@pytest.fixture
def server() -> Any:
    """Answers every request with the number of its messages, or of its prompt's characters."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = f"[[{len(asked['messages'])}]]" if "messages" in asked else f"{len(asked['prompt'])}\nmore"
            choice = {"finish_reason": "stop", "text": text, "message": {"content": text}}
            body = json.dumps({"choices": [choice]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}/v1"
    found.shutdown()


def test_a_server_answers_and_no_model_is_loaded(sea, chat_folder, server, tmp_path, monkeypatch):
    monkeypatch.setattr("seatools.engine.load.open_model", lambda *_, **__: pytest.fail("loaded"))
    data = write_jsonl(
        tmp_path / "p.jsonl", [{"prompt": "abcde", "reference": "5"}, {"prompt": "abc", "reference": "x"}]
    )
    samples = tmp_path / "s.jsonl"
    base = ["eval", chat_folder, "translation", "--data", f"en={data}", "--engine", server, "--samples", samples]
    rows = scores(sea(*base))
    assert [line["result"]["text"] for line in map(json.loads, samples.read_text().splitlines())] == ["5", "3"]
    assert rows[0]["config"]["engine"] == server
    off = sea(*base, "--apply-patch", "p.safetensors")
    assert off.code != 0 and "loaded" not in off.stderr


def test_a_server_judges(sea, chat_folder, bench, server):
    (row,) = scores(sea("eval", chat_folder, *bench, "--judge", f"{server}#big"))
    # turn 1: one message; turn 2: the instruction as system turn, and one message
    assert (row["value"], row["n"], row["config"]["judge"]) == (1.5, 4, f"{server}#big")
