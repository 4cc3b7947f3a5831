"""A server, recorded judgements, points, gold answers, shards and runs begun again, from the command line."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_llama import write_jsonl

from seatools.engine.world import World
from seatools.judge.judges import said_label, said_points
from seatools.judge.rounds import judge_units

WORDS = ("kaya", "ngata", "lor", "inay", "anak", "ulan", "puno", "isda")
GIVEN = [
    {"id": n, "prompt": word, "responses": ["good", "bad"] if n % 2 else ["bad", "good"], "lang": "id"}
    for n, word in enumerate(WORDS)
]


# With criteria this short the small judge agrees with itself now and then.
TOLD = [{**value, "lang": ("th", "tl")[n % 3 == 0]} for n, value in enumerate(GIVEN)]


@pytest.fixture
def kind(tmp_path: Path) -> Path:
    (tmp_path / "kind").mkdir()
    path = tmp_path / "kind/criteria.txt"
    path.write_text("Be kind.")
    return path


def records(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


class Server(http.server.ThreadingHTTPServer):
    """Answers chats with `say(text)`, refuses them where that is None; keeps what it was asked."""

    def __init__(self, say: Callable[[str], str | None]) -> None:
        self.say, self.asked = say, []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers.get("Authorization"), body))  # type: ignore[attr-defined]
        said = self.server.say(body["messages"][-1]["content"])  # type: ignore[attr-defined]
        answer = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}
        content = json.dumps({"error": {"message": "too long"}} if said is None else answer).encode()
        self.send_response(400 if said is None else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str], str]], Server]]:
    running = []

    def start(say: Callable[[str], str]) -> Server:
        server = Server(say)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def good_is(text: str) -> str:
    """A judge that knows what is good, and writes it in many ways."""
    return "**A**" if "Jawaban A:\ngood" in text else "[[B]]." if "kaya" in text else "B"


# A server


def test_a_server_is_asked_in_both_orders_and_its_labels_are_verdicts(sea, serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server = serve(good_is)
    result = sea("judge", "--judge-url", server.url, "--judge-model", "big", stdin=lines(*GIVEN))
    assert result.code == 0, result.stderr
    assert [(value["chosen"], value["margin"]) for value in records(result.stdout)] == [("good", 1.0)] * len(GIVEN)
    assert records(result.stdout)[1]["judgements"] == {
        "judge": "big", "first": 0, "second": 1, "forward": 1.0, "backward": -1.0,
    }  # fmt: skip
    assert len(server.asked) == 2 * len(GIVEN)
    path, key, body = server.asked[0]
    assert (path, key, body["model"], body["temperature"]) == ("/v1/chat/completions", "Bearer secret", "big", 0)
    assert "secret" not in result.stderr + result.stdout.decode()


def test_what_is_not_a_label_is_no_verdict_and_counted(sea, serve, tmp_path):
    server = serve(lambda text: "I think A is better" if "kaya" in text else good_is(text))
    out = tmp_path / "out.jsonl"
    result = sea("judge", "--judge-url", server.url, "--judge-model", "m", "-o", out, stdin=lines(*GIVEN))
    assert result.code == 0, result.stderr
    assert "not kept: 1 (no verdict)" in result.stderr
    counts = json.loads(Path(f"{out}.manifest.json").read_text())["counts"]["id"]
    assert (counts["pairs"], counts["kept"], counts["no_verdict"], counts["agreement"]) == (8, 7, 1, 1.0)


def test_a_server_that_always_says_the_first_is_told_to_and_the_check_fails(sea, serve, tmp_path):
    server = serve(lambda text: "A")
    out = tmp_path / "out.jsonl"
    options = ["--judge-url", server.url, "--judge-model", "m", "-o", out]
    result = sea("judge", *options, "--min-consistency", 0.6, stdin=lines(*GIVEN))
    assert result.code == 3
    assert "names the first label in 100 % of its readings" in result.stderr
    assert "id 0 % of 8 pairs (0 % to 32 %)" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_server_said_that_is_no_label_is_shown_and_asked_for_again_with_more_tokens(sea, serve, tmp_path):
    server, kept = serve(lambda text: "I think\nthat A is better."), tmp_path / "j.jsonl"
    options = ["--judge-url", server.url, "--judge-model", "m", "--judgements", kept]
    result = sea("judge", *options, stdin=lines(*GIVEN))
    assert 'said, for example: "I think that A is better."' in result.stderr
    server.say = good_is
    assert sea("judge", *options, stdin=lines(*GIVEN)).stdout == b""
    assert len(records(sea("judge", *options, "--judge-tokens", 99, stdin=lines(*GIVEN)).stdout)) == 8


def test_a_pair_that_a_server_refuses_is_named_or_no_verdict(sea, serve):
    server = serve(lambda text: None if "ngata" in text else good_is(text))
    options = ["--judge-url", server.url, "--judge-model", "m"]
    result = sea("judge", *options, stdin=lines(*GIVEN))
    assert result.code == 1 and "stdin:2: " in result.stderr and "HTTP 400: too long" in result.stderr
    result = sea("judge", *options, "--on-error", "skip", stdin=lines(*GIVEN))
    assert result.code == 0, result.stderr
    assert len(records(result.stdout)) == 7 and "not kept: 1 (no verdict)" in result.stderr


def test_a_server_gives_points(sea, serve):
    server = serve(lambda text: "5" if "Jawaban:\ngood" in text else "2/5")
    result = sea("judge", "--mode", "pointwise", "--judge-url", server.url, "--judge-model", "m", stdin=lines(*GIVEN))
    assert result.code == 0, result.stderr
    assert [(value["chosen"], value["margin"]) for value in records(result.stdout)] == [("good", 3.0)] * len(GIVEN)
    assert records(result.stdout)[0]["judgements"]["points"] == [2.0, 5.0]


@pytest.mark.parametrize(
    ("text", "value"),
    [("A", 1), (" B\n", -1), ("**A**", 1), ("[[B]].", -1), ('"A".', 1), ("(B)", -1), ("", 0), ("C", 0), ("a", 0),
     ("A or B", 0), ("Answer A", 0), ("AB", 0)],
)  # fmt: skip
def test_labels_are_read_strictly(text, value):
    found = said_label(text, ("A", "B"))
    assert np.isnan(found) if value == 0 else found == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), (" **0** ", 0), ("4/5", 4), ("[[3]]", 3), ("6", None), ("4.5", None), ("45", None), ("4 points", None),
     ("", None)],
)  # fmt: skip
def test_points_are_read_strictly(text, value):
    found = said_points(text)
    assert np.isnan(found) if value is None else found == value


# Judgements that are kept and replayed


@pytest.mark.parametrize(("mode", "num"), [("pairwise", 8), ("pointwise", 16)])
def test_kept_judgements_are_replayed_to_the_byte(sea, byte_judge, kind, tmp_path, monkeypatch, mode, num):
    given, kept = write_jsonl(tmp_path / "r.jsonl", TOLD), tmp_path / "j.jsonl"
    options = [given, "--mode", mode, "--pairs", "all", "--criteria", kind]
    plain = sea("judge", byte_judge, *options)
    first = sea("judge", byte_judge, *options, "--judgements", kept)
    assert (plain.code, first.code) == (0, 0)
    assert first.stdout == plain.stdout != b""
    whole = kept.read_bytes()
    assert len(records(whole)) == num
    assert sea("judge", *options, "--recorded", kept).stdout.replace(b'"recorded"', b"") == plain.stdout.replace(
        json.dumps(records(whole)[0]["judge"]).encode(), b""
    )
    kept.write_bytes(whole[:-20])  # killed in the middle of a line: that unit is judged again, to the same bytes
    assert sea("judge", byte_judge, *options, "--judgements", kept).stdout == plain.stdout
    assert kept.read_bytes() == whole
    monkeypatch.setattr("seatools.engine.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    assert sea("judge", byte_judge, *options, "--judgements", kept).stdout == plain.stdout


def test_judgements_of_another_setting_are_not_taken(sea, byte_judge, tmp_path):
    given, kept = write_jsonl(tmp_path / "r.jsonl", GIVEN), tmp_path / "j.jsonl"
    for more in ([], ["--no-calibrate"], ["--criteria-lang", "en"]):
        assert sea("judge", byte_judge, given, "--judgements", kept, *more).code == 0
    assert len(records(kept.read_bytes())) == 3 * len(GIVEN)


def test_a_file_that_holds_no_judgements_is_left_as_it_is(sea, byte_judge, tmp_path):
    given = write_jsonl(tmp_path / "r.jsonl", GIVEN)
    before = given.read_bytes()
    assert sea("judge", byte_judge, given, "--judgements", given).code == 2
    other = write_jsonl(tmp_path / "o.jsonl", GIVEN)
    result = sea("judge", byte_judge, given, "--judgements", other)
    assert result.code == 1
    assert "o.jsonl:1" in result.stderr
    assert given.read_bytes() == other.read_bytes() == before


# Points and gold answers


def test_pointwise_chooses_by_the_models_points(sea, byte_judge):
    given = [{**value, "responses": ["good", "bad", "good "]} for value in GIVEN]
    result = sea("judge", byte_judge, "--mode", "pointwise", stdin=lines(*given))
    assert result.code == 0, result.stderr
    for value in records(result.stdout):
        points = value["judgements"]["points"]
        assert points[0] == points[2]
        best, worst = value["judgements"]["first"], value["judgements"]["second"]
        assert value["margin"] == pytest.approx(points[best] - points[worst], abs=2e-4)
        assert points[best] == max(points) > points[worst] == min(points)


def test_spin_needs_no_model(sea, tmp_path):
    given = [{**value, "reference": "gold"} for value in GIVEN] + [{"prompt": "x", "responses": ["a"]}]
    out = tmp_path / "out.jsonl"
    result = sea("judge", "--mode", "spin", "-o", out, "--json", stdin=lines(*given))
    assert result.code == 0, result.stderr
    found = records(out.read_bytes())
    assert len(found) == 2 * len(GIVEN)
    assert {value["chosen"] for value in found} == {"gold"}
    assert {value["reference"] for value in found} == {"gold"}
    assert records(result.stdout) == [
        {"lang": "id", "pairs": 16, "kept": 16}, {"lang": "und", "pairs": 1, "kept": 0},
    ]  # fmt: skip
    assert "not kept: 1 (no gold answer)" in result.stderr


# The rest of the command


def test_filters_count_and_quarantine_what_they_take(sea, byte_judge, tmp_path, rigged):
    rigged(quality=1)
    given = [
        {"prompt": "x", "responses": ["good", "sorry, but i cannot"], "lang": "en"},
        {"prompt": "y", "responses": ["good", "bad " * 30, "bad"], "lang": "en"},
        {"prompt": "z", "responses": ["good", "ไม่ดี", "bad"], "lang": "en"},
        {"prompt": "w", "responses": ["good", "a bad one, long"], "lang": "en"},
    ]
    kept = tmp_path / "q.jsonl"
    result = sea(
        "judge", byte_judge, "--drop-refusals", "--max-repetition", 0.5, "--lang-check", "script",
        "--max-length-ratio", 3, "--on-error", "quarantine", "--quarantine", kept, stdin=lines(*given),
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert [value["prompt"] for value in records(result.stdout)] == ["y", "z"]
    reasons = [(row["reason"], json.loads(row["raw"])["prompt"]) for row in records(kept.read_bytes())]
    assert reasons == [
        ("refusal", "x"), ("one answer", "x"), ("repetition", "y"), ("another language", "z"), ("length ratio", "w"),
    ]  # fmt: skip
    assert "not kept: 1 (refusal)" in result.stderr


def test_shards_together_are_the_whole(sea, byte_judge, kind, tmp_path, monkeypatch):
    monkeypatch.setattr("seatools.judge.run.UNIT", 3)
    given = write_jsonl(tmp_path / "r.jsonl", TOLD)
    options = [byte_judge, given, "--criteria", kind]
    whole = sea("judge", *options).stdout.splitlines()
    parts = [sea("judge", *options, "--shard", f"{n}/2").stdout.splitlines() for n in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(whole)
    assert all(parts)


class FakeWorld(World):
    """Ranks as threads: what `sum` and `first` say to each other goes through lists and a barrier."""

    parts: dict[int, object] = {}
    barrier = threading.Barrier(2)

    def _all(self, value):
        FakeWorld.parts[self.rank] = value
        FakeWorld.barrier.wait()
        found = [FakeWorld.parts[rank] for rank in range(self.size)]
        FakeWorld.barrier.wait()
        return found

    def sum(self, tensor):
        return sum(part.clone() for part in self._all(tensor))

    def first(self, value):
        return next((found for found in self._all(value) if found is not None), None)


def test_processes_share_the_units_and_all_know_everything():
    units = [[10, 11], [20], [30, 31]]
    asked: dict[int, list] = {0: [], 1: []}
    results = {}

    class Counting:
        name, labels = "c", ("A", "B")

        def __init__(self, rank: int) -> None:
            self.rank = rank

        def values(self, items):
            asked[self.rank].append(items)
            return np.array([[item, np.nan if item == 20 else -item] for item in items], dtype=float)

    def work(rank: int) -> None:
        world = FakeWorld(rank, 2, rank, None)
        results[rank] = judge_units(
            units, Counting(rank), world, mode="pairwise", settings={}, kept_path=None, quiet=True
        )

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == {0: [[10, 11], [30, 31]], 1: [[20]]}
    for rank in range(2):
        found = np.concatenate(results[rank])
        np.testing.assert_array_equal(found, [[10, -10], [11, -11], [20, np.nan], [30, -30], [31, -31]])


def test_a_dry_run_counts_and_writes_nothing(sea, byte_judge, tmp_path, monkeypatch):
    monkeypatch.setattr("seatools.engine.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    out = tmp_path / "out.jsonl"
    result = sea("judge", byte_judge, "-o", out, "--dry-run", stdin=lines(*GIVEN))
    assert (result.code, out.exists()) == (0, False)
    assert "8 pairs of answers, 32 readings" in result.stderr


def test_a_language_without_criteria_is_said_to_be_judged_in_english(sea, byte_judge):
    result = sea("judge", byte_judge, stdin=lines({**GIVEN[0], "lang": "ban"}))
    assert "no criteria in ban: the English ones are used" in result.stderr


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "no MODEL"),
        (["--mode", "best"], "unknown --mode"),
        (["M", "--pairs", "some"], "unknown --pairs"),
        (["M", "--mode", "pointwise", "--pairs", "first-two"], "first-two is for comparisons"),
        (["--mode", "spin", "--pairs", "all"], "says nothing"),
        (["--mode", "spin", "--recorded", "x"], "asks no judge"),
        (["--mode", "spin", "--min-margin", "1"], "asks no judge"),
        (["--mode", "spin", "--criteria-lang", "th"], "asks no judge"),
        (["--judge-url", "http://x/v1"], "go together"),
        (["--judge-url", "http://x/v1", "--judge-model", "m", "--recorded", "x"], "two judges"),
        (["--judge-url", "http://x/v1", "--judge-model", "m", "--calibrate"], "needs log-probabilities"),
        (["M", "--mode", "pointwise", "--min-consistency", "0.5"], "has none"),
        (["M", "--min-consistency", "5"], "no share"),
        (["M", "--min-margin", "nan"], "not 0 or more"),
        (["M", "--shard", "2/2"], "is no shard"),
        (["M", "--no-chat", "--chat-template", "x"], "no use"),
    ],
)
def test_options_that_do_not_go_together_are_refused(sea, argv, words):
    result = sea("judge", *argv)
    assert result.code == 2
    assert words in result.stderr


def test_a_model_where_none_is_wanted_and_a_file_where_one_is(sea, byte_judge, tmp_path):
    result = sea("judge", byte_judge, "--mode", "spin")
    assert (result.code, "is a model" in result.stderr) == (2, True)
    result = sea("judge", write_jsonl(tmp_path / "r.jsonl", GIVEN))
    assert (result.code, "is a file, and MODEL is a folder" in result.stderr) == (2, True)


def test_chat_is_as_asked_for(sea, byte_judge, chat_judge):
    assert sea("judge", byte_judge, "--chat", stdin=lines(*GIVEN)).code == 2
    with_template, without = (
        sea("judge", chat_judge, *more, "-q", "--mode", "pointwise", stdin=lines(*TOLD)).stdout
        for more in ([], ["--no-chat"])
    )
    assert with_template != without
