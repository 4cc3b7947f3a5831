"""`--on-error`: what is kept of bad lines, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages
from seatools.streams.quarantine import refuse_shared_rejects, rejects_policy
from seatools.streams.records import BadRecord, RecordReader


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_bytes(b'{"a":1}\nbad\n{"a":2}\n\xff\n')
    return tmp_path


def run(on_error: str, quarantine_path: str | None = None, output: str | None = "out", force: bool = False) -> int:
    with rejects_policy(on_error, quarantine_path, output, Messages(quiet=True), force=force) as rejects:
        return len(list(RecordReader("in.jsonl", rejects=rejects)))


def test_fail_raises_the_first() -> None:
    with pytest.raises(BadRecord, match=r"in\.jsonl:2"):
        run("fail")


def test_skip_counts_and_says_so_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("skip") == 2
    warning = "warning: 2 rejected (broken json 1, not utf-8 1); first: in.jsonl:2: broken JSON"
    assert capsys.readouterr().err.startswith(warning)
    assert not Path("out.quarantine.jsonl").exists()


def test_quarantine_keeps_raw_lines_with_reasons_beside_the_output() -> None:
    assert run("quarantine") == 2
    rows = [json.loads(line) for line in Path("out.quarantine.jsonl").read_bytes().splitlines()]
    assert [(row["file"], row["line"], row["reason"]) for row in rows] == [
        ("in.jsonl", 2, "broken json"),
        ("in.jsonl", 4, "not utf-8"),
    ]
    assert (rows[0]["raw"], rows[1]["raw_base64"]) == ("bad", "/w==")


def test_a_quarantine_file_may_be_named_and_appears_also_when_empty() -> None:
    Path("in.jsonl").write_bytes(b'{"a":1}\n')
    run("quarantine", "kept.jsonl", output=None)
    assert Path("kept.jsonl").read_bytes() == b""


def test_a_dry_run_counts_and_writes_no_quarantine_file(capsys: pytest.CaptureFixture[str]) -> None:
    with rejects_policy("quarantine", None, None, Messages(quiet=True), dry_run=True) as rejects:
        assert len(list(RecordReader("in.jsonl", rejects=rejects))) == 2
    assert "2 rejected" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(
    ("on_error", "path", "output", "message"),
    [
        ("skip", "kept", "out", "--quarantine needs --on-error quarantine"),
        ("quarantine", None, None, "--on-error quarantine needs a file"),
        ("quarantine", "-", "-", "the quarantine file is the output"),
        ("quarantine", "./out", "out", "the quarantine file is the output"),
        ("quarantine", "in.jsonl", "out", "exists"),
    ],
)
def test_wrong_uses(on_error: str, path: str | None, output: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(on_error, path, output)


def test_not_even_force_writes_it_onto_an_input() -> None:
    before = Path("in.jsonl").read_bytes()
    with pytest.raises(UsageError, match="both input and quarantine"):
        run("quarantine", "in.jsonl", force=True)
    assert Path("in.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("rejects", "said"),
    [("-", "is the output"), ("out", "is the output"), ("./out", "is the output"), ("bad", "is the quarantine file")],
)
def test_the_rejects_file_is_a_file_of_its_own(rejects: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        refuse_shared_rejects(rejects, "out", "bad")
    refuse_shared_rejects("third", "out", "bad")
    refuse_shared_rejects("third", None, None)
    refuse_shared_rejects(None, "-", None)
