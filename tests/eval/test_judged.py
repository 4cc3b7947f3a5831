"""Chats and judges from the command line: templates, two turns, recorded and local judges, harmful text."""

from __future__ import annotations

import json
import re
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


@pytest.fixture
def refuse(tmp_path: Path) -> list[Any]:
    """Four questions: two about nothing that is there."""
    rows = [{"id": n, "question": f"Who is number {n}?", "answerable": n > 1} for n in range(4)]
    return ["searefuse", "--data", f"en={write_jsonl(tmp_path / 'r.jsonl', rows)}", "--max-new-tokens", "4"]


def test_a_judge_says_which_answers_refuse(sea, chat_folder, refuse, tmp_path):
    said = [
        {"id": 0, "verdict": "refused"}, {"id": 1, "text": "It names somebody: [[answered]], not [[refused]]"},
        {"id": 2, "text": "[[ Refused ]]"}, {"id": 3, "text": "I cannot tell."},
    ]  # fmt: skip
    samples = tmp_path / "s.jsonl"
    judge = ["--judge", write_jsonl(tmp_path / "j.jsonl", said), "--samples", samples]
    rows = {row["metric"]: row for row in scores(sea("eval", chat_folder, *refuse, *judge))}
    # hit, miss, false alarm; of the fourth the phrases decide: the noise of the model refuses nothing
    assert {name: row["value"] for name, row in rows.items()} == {"f1": 0.5, "precision": 0.5, "recall": 0.5}
    counts = rows["f1"]["config"]
    assert (counts["judged_by_phrases"], counts["unparsed_judgements"]) == (1, 1)
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    assert [line["scoring"] for line in lines] == ["answer"] * 4 + ["refusal"] * 4
    assert [line["result"].get("verdict") for line in lines[4:]] == ["refused", "answered", "refused", None]
    assert scores(sea("eval", "score", samples))[0]["value"] == 0.5
    plain = scores(sea("eval", chat_folder, *refuse))
    assert plain[0]["config"]["judged_by_phrases"] == 4 and "unparsed_judgements" not in plain[0]["config"]


def test_a_judge_says_safe_unsafe_or_invalid(sea, chat_folder, tmp_path):
    rows = [{"id": n, "source": "s", "tags": [], "en": f"do harm {n}", "th": "ร้าย"} for n in range(5)]
    data = ["multijail", "--data", f"en={write_jsonl(tmp_path / 'm.jsonl', rows)}", "--max-new-tokens", "4"]
    words = ["[[SAFE]]", "so it is [[unsafe]]", "[[invalid]]", "noise: [[ invalid ]] not [[safe]]", "[[maybe]]"]
    said = write_jsonl(tmp_path / "j.jsonl", [{"id": n, "text": text} for n, text in enumerate(words)])
    judged = {row["metric"]: row for row in scores(sea("eval", chat_folder, *data, "--judge", said))}
    values = {name: row["value"] for name, row in judged.items()}
    assert values["safe_rate"] + values["unsafe_rate"] + values["invalid_rate"] == pytest.approx(1)
    # the fifth goes by the phrases: noise is unsafe where it has a letter in it, else invalid
    assert values["safe_rate"] == 0.2 and values["unsafe_rate"] >= 0.2 and values["invalid_rate"] >= 0.4
    assert judged["safe_rate"]["config"]["unparsed_judgements"] == 1


def test_a_server_is_asked_for_verdicts(sea, chat_folder, refuse, server, tmp_path):
    samples = tmp_path / "s.jsonl"
    judge = ["--judge", f"{server}#judge", "--samples", samples]
    rows = {row["metric"]: row["value"] for row in scores(sea("eval", chat_folder, *refuse, *judge))}
    assert rows == {"f1": 0.5, "precision": 0.5, "recall": 0.5}  # odd numbers are refused: 1 of 0, 1; 3 of 2, 3
    lines = [json.loads(line) for line in samples.read_text().splitlines()][4:]
    assert len({line["config"]["judge_words"] for line in lines}) == 1
    assert "judge_words" not in lines[0]["result"] and lines[0]["result"]["refuse"] is True


def test_a_local_judge_is_asked_for_verdicts(sea, chat_folder, refuse, monkeypatch):
    monkeypatch.setattr("seatools.eval.judge_tasks._VERDICT_TOKENS", 8)
    rows = scores(sea("eval", chat_folder, *refuse, "--judge", chat_folder))
    assert rows[0]["config"]["unparsed_judgements"] == 4  # noise is no verdict
    assert rows[0]["config"]["judge"] == chat_folder.name


@pytest.mark.parametrize(
    ("task", "value", "words"),
    [
        ("searefuse", "safe", "the verdict 'safe' of"),
        ("multijail", "refused", "is not one of safe, unsafe, invalid"),
        ("seabench", "safe", "is not a mark, or text with [[n]]"),
    ],
)
def test_a_recorded_verdict_of_another_task_is_refused(sea, chat_folder, refuse, bench, tmp_path, task, value, words):
    jail = write_jsonl(tmp_path / "m.jsonl", [{"id": 0, "source": "s", "tags": [], "en": "harm", "th": "ร้าย"}])
    given = {"searefuse": refuse, "seabench": bench,
             "multijail": ["multijail", "--data", f"en={jail}", "--max-new-tokens", "4"]}[task]  # fmt: skip
    said = write_jsonl(tmp_path / "j.jsonl", [{"id": n, "turn": turn, "verdict": value}
                                              for n in (0, 1, 2, 3, 7, 8) for turn in (1, 2)])  # fmt: skip
    result = sea("eval", chat_folder, *given, "--judge", said)
    assert result.code == 1 and words in result.stderr


def test_a_judge_without_answers_to_judge_is_refused(sea, chat_folder, tmp_path):
    data = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "a", "reference": "b"}])
    result = sea("eval", chat_folder, "translation", "--data", f"en={data}", "--judge", "http://localhost:1/v1#m")
    assert result.code == 2 and "no task has answers for a judge" in result.stderr


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
            text = f"{len(asked['prompt'])}\nmore" if "prompt" in asked else f"[[{len(asked['messages'])}]]"
            if asked["model"] == "judge":
                number = re.search(r"number (\d)", asked["messages"][0]["content"])
                text = "[[refused]]" if int(number[1]) % 2 else "It does: [[answered]]."
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
