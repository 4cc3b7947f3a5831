"""A server of OpenAI's protocol: what is sent, what is read, what is tried again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from seatools.engine.openai_engine import Server
from seatools.engine.prompts import PromptError
from seatools.engine.sampling import SamplingOptions
from seatools.engine.stop_strings import Generated
from seatools.streams.errors import SeaError, UsageError


class Handler(BaseHTTPRequestHandler):
    """Answers with what the test has put into `server.replies` for the prompt, one a try; the last one stays."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        with self.server.lock:
            self.server.seen.append((self.path, dict(self.headers), body))
            replies = self.server.replies[prompt]
            status, content, headers = replies.pop(0) if len(replies) > 1 else replies[0]
        if status is None:  # the connection breaks
            self.close_connection = True
            return
        if status == "slow":
            time.sleep(0.5)
            self.close_connection = True
            return
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = int(headers.get("Content-Length", len(data))) != len(data)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def http() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.replies, server.lock = [], {}, threading.Lock()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def opened(http: ThreadingHTTPServer, **more) -> Server:
    values = {"first_wait": 0.01, "timeout": 5.0, "tries": 3, **more}
    return Server(url=f"http://127.0.0.1:{http.server_port}/v1", model="m", **values)


def completion(text: str | None, finish: str = "stop"):
    return 200, {"choices": [{"text": text, "finish_reason": finish}]}, {}


def chat(text: str | None, finish: str = "stop"):
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}, {}


OPTIONS = SamplingOptions(max_new_tokens=7, temperature=0.5, top_p=0.9, stop_strings=("END", "\n"))


def test_a_string_is_completed_and_messages_are_answered(http, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    http.replies = {"Saya": [completion(" makan", "length")], "สวัสดี": [chat("ครับ")]}
    turns = [{"role": "system", "content": "x"}, {"role": "user", "content": "สวัสดี"}]
    found = opened(http, key_variable="SOME_KEY").ask(["Saya", turns], OPTIONS, seeds=[5, 6])
    assert found == [Generated([], "length", " makan"), Generated([], "stop", "ครับ")]
    by_path = {path: (headers, body) for path, headers, body in http.seen}
    headers, body = by_path["/v1/completions"]
    assert headers["Authorization"] == "Bearer secret"
    assert body == {
        "model": "m", "max_tokens": 7, "temperature": 0.5, "seed": 5, "n": 1, "prompt": "Saya", "top_p": 0.9,
        "stop": ["END", "\n"],
    }  # fmt: skip
    assert by_path["/v1/chat/completions"][1]["messages"] == turns


def test_without_a_key_none_is_sent(http, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    http.replies = {"a": [completion("b")]}
    opened(http).ask(["a"], OPTIONS, seeds=[0])
    assert "Authorization" not in http.seen[0][1]


def test_answers_keep_the_order_of_their_prompts(http):
    http.replies = {f"p{n}": [completion(f"a{n}")] for n in range(40)}
    counts: list[int] = []
    found = opened(http).ask([f"p{n}" for n in range(40)], OPTIONS, seeds=range(40), progress=counts.append)
    assert [answer.text for answer in found] == [f"a{n}" for n in range(40)]
    assert sum(counts) == 40


@pytest.mark.parametrize(
    "bad",
    [
        (429, {"error": {"message": "slow down"}}, {"Retry-After": "0.01"}),
        (500, "x", {}),
        (503, {}, {}),
        (None, "", {}),
    ],
)
def test_what_may_pass_is_tried_again(http, bad):
    http.replies = {"a": [bad, bad, completion("b")]}
    assert opened(http).ask(["a"], OPTIONS, seeds=[0])[0].text == "b"
    assert len(http.seen) == 3


def test_what_never_passes_is_an_error_with_the_words_of_the_server(http):
    http.replies = {"a": [(429, {"error": {"message": "slow\ndown"}}, {})]}
    with pytest.raises(SeaError, match="HTTP 429: slow down; tried 3 times"):
        opened(http).ask(["a"], OPTIONS, seeds=[0])
    assert len(http.seen) == 3


@pytest.mark.parametrize(("status", "fix"), [(400, None), (401, "OPENAI_API_KEY"), (404, "/v1")])
def test_what_is_wrong_is_not_tried_again(http, status, fix):
    http.replies = {"a": [(status, {"error": {"message": "no such model"}}, {})]}
    with pytest.raises(SeaError, match=f"HTTP {status}: no such model") as caught:
        opened(http).ask(["a"], OPTIONS, seeds=[0])
    assert (fix in caught.value.fix) if fix else caught.value.fix is None
    assert len(http.seen) == 1


def test_nobody_there_is_an_error():
    server = Server(url="http://127.0.0.1:9/v1", model="m", tries=2, first_wait=0.01)
    with pytest.raises(SeaError, match="no answer.*tried 2 times"):
        server.ask(["a"], OPTIONS, seeds=[0])


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, "<html>", {}), "no JSON"),
        ((200, {"choices": []}, {}), "without choices"),
        ((200, ["x"], {}), "without choices"),
        ((200, {"choices": ["x"]}, {}), "without choices"),
        ((200, {"error": {"message": "overloaded"}}, {}), "without choices: .*overloaded"),
        ((200, {"choices": [{"text": 5, "finish_reason": "stop"}]}, {}), "no text"),
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error(http, reply, message):
    http.replies = {"a": [reply]}
    with pytest.raises(SeaError, match=message):
        opened(http).ask(["a"], OPTIONS, seeds=[0])


@pytest.mark.parametrize(
    "reply", [(400, "too long", {}), (413, "", {}), (422, "", {}), completion("", "content_filter")]
)
def test_what_a_server_refuses_names_its_prompt(http, reply):
    http.replies = {"a": [completion("x")], "b": [reply]}
    with pytest.raises(PromptError, match="http://.*(HTTP 4|content filter)") as caught:
        opened(http, threads=1).ask(["a", "b"], OPTIONS, seeds=[0, 0])
    assert caught.value.row == 1


def test_nobody_waits_for_a_server_that_hangs(http):
    http.replies = {"hangs": [("slow", "", {})], "bad": [(401, "", {})]}
    before, started = set(threading.enumerate()), time.monotonic()
    with pytest.raises(SeaError, match="HTTP 401"):
        opened(http, first_wait=30.0).ask(["hangs", "bad"], OPTIONS, seeds=[0, 0])
    assert time.monotonic() - started < 0.4
    assert all(thread.daemon for thread in set(threading.enumerate()) - before)  # nor does the end of the program


def test_an_answer_is_asked_for_whole_and_may_lack_the_reason_of_its_end(http):
    http.replies = {"ก": [(200, {"choices": [{"text": "ข\U0001f418"}]}, {})]}
    assert opened(http).ask(["ก"], OPTIONS, seeds=[0]) == [Generated([], "stop", "ข\U0001f418")]
    assert not http.seen[0][2].get("stream")


def test_a_server_that_says_nothing_in_time_is_asked_again_and_then_given_up(http):
    http.replies = {"a": [("slow", "", {})], "b": [("slow", "", {}), completion("c")]}
    started = time.monotonic()
    assert opened(http, timeout=0.2).ask(["b"], OPTIONS, seeds=[0])[0].text == "c"
    with pytest.raises(SeaError, match="no answer: timed out; tried 2 times") as caught:
        opened(http, timeout=0.2, tries=2).ask(["a"], OPTIONS, seeds=[0])
    assert len(str(caught.value).splitlines()) == 1 and time.monotonic() - started < 5


def test_an_answer_that_breaks_off_is_asked_for_again(http):
    http.replies = {"a": [(200, '{"choices": [{"te', {"Content-Length": "400"}), completion("b")]}
    assert opened(http).ask(["a"], OPTIONS, seeds=[0])[0].text == "b"
    assert len(http.seen) == 2


def test_nothing_said_is_an_empty_answer(http):
    http.replies = {"a": [completion(None)]}
    assert opened(http).ask(["a"], OPTIONS, seeds=[0]) == [Generated([], "stop", "")]


def test_stop_strings_that_the_server_did_not_obey_or_was_not_told_cut_here(http):
    stops = ("1", "2", "3", "4", "5")
    http.replies = {"a": [completion("x5y", "length")]}
    options = SamplingOptions(stop_strings=stops)
    assert opened(http).ask(["a"], options, seeds=[0]) == [Generated([], "stop", "x")]
    assert http.seen[0][2]["stop"] == list(stops[:4])


def test_the_first_failure_ends_the_rest(http):
    http.replies = {"bad": [(400, "no", {})], **{f"p{n}": [completion("a")] for n in range(200)}}
    with pytest.raises(SeaError):
        opened(http, threads=1).ask(["bad", *(f"p{n}" for n in range(200))], OPTIONS, seeds=range(201))
    assert len(http.seen) < 20


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "http://"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UsageError, match="address"):
        Server(url=url, model="m")
