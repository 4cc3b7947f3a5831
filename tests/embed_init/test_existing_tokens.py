"""`--reinit`: rows of old tokens that were never trained are made anew, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_folders import byte_level, llama, load, matrices

from seatools.text.tokenizer import load_tokenizer

Sea = Callable[..., Any]
MEANS = ("--method", "subword-mean")
MERGES = [(b"a", b"b"), (b"c", b"d"), (b"ab", b"cd"), (b"x", b"y")]
AB, CD, ABCD, XY = 258, 259, 260, 261
A, B, C, D = (2 + ord(char) for char in "abcd")
WOKEN = {"token": "ab", "id": AB, "bytes": "6162", "pieces": [A, B], "reason": "woken", "was": "dormant"}
DORMANT = {"token": "cd", "id": CD, "bytes": "6364", "pieces": [C, D], "reason": "dormant", "was": "dormant"}


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return llama(byte_level(tmp_path / "base", MERGES[:2]), 260, tied=request.param)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    folder = byte_level(tmp_path / "new", MERGES)
    (folder / "existing_tokens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (WOKEN, DORMANT)))
    return folder


def _rows(sea: Sea, base: Path, new: Path, out: Path, *flags: object) -> tuple[Any, Any, list[dict[str, Any]]]:
    result = sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", out, *flags)
    assert result.code == 0, result.stderr
    records = [json.loads(line) for line in (out / "new_rows.jsonl").read_text().splitlines()]
    return matrices(load(base)), matrices(load(out)), records


def test_woken_rows_are_means_of_what_stood_for_them(tmp_path: Path, sea: Sea, base: Path, new: Path) -> None:
    file = new / "existing_tokens.jsonl"
    before, after, records = _rows(sea, base, new, tmp_path / "out", "--reinit", file, "--verify")
    for old, grown in zip(before, after, strict=True):
        assert torch.equal(grown[AB], old[[A, B]].double().mean(0).float())
        kept = [id for id in range(260) if id != AB]
        assert torch.equal(grown[kept], old[kept])
        # Neither old row was trained, so the new token is spelled by letters.
        assert torch.equal(grown[ABCD], old[[A, B, C, D]].double().mean(0).float())
    assert [(row["id"], row["origin"], row["pieces"]) for row in records][:2] == [
        (AB, "reinit", [A, B]),
        (ABCD, "new", [A, B, C, D]),
    ]
    assert not (tmp_path / "out/existing_tokens.jsonl").exists()
    counts = json.loads((tmp_path / "out.manifest.json").read_text())["counts"]
    assert (counts["reinit_tokens"], counts["new_tokens"], counts["kept_tokens"]) == (1, 2, 259)


def test_other_reasons_can_be_named(tmp_path: Path, sea: Sea, base: Path, new: Path) -> None:
    flags = ("--reinit", new / "existing_tokens.jsonl", "--reinit-reasons", "woken,dormant")
    before, after, records = _rows(sea, base, new, tmp_path / "out", *flags)
    assert [row["id"] for row in records if row["origin"] == "reinit"] == [AB, CD]
    assert torch.equal(after[0][CD], before[0][[C, D]].double().mean(0).float())


def test_untrained_rows_count_in_no_mean(tmp_path: Path, sea: Sea, base: Path, new: Path) -> None:
    flags = ("--method", "mean", "--reinit", new / "existing_tokens.jsonl")
    before, after, records = _rows(sea, base, new, tmp_path / "out", *flags)
    trained = [id for id in range(260) if id not in (AB, CD)]
    assert torch.equal(after[0][AB], before[0][trained].double().mean(0).float())
    assert all(row["nearest"]["token"] not in ("ab", "cd") for row in records)


def test_without_the_flag_rows_stay_and_a_warning_names_the_file(
    tmp_path: Path, sea: Sea, base: Path, new: Path
) -> None:
    result = sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out")
    assert result.code == 0
    assert f"{new}/existing_tokens.jsonl lists 1 woken tokens" in result.stderr and "--reinit" in result.stderr
    assert torch.equal(matrices(load(tmp_path / "out"))[0][:260], matrices(load(base))[0])


def test_without_woken_tokens_there_is_no_warning(tmp_path: Path, sea: Sea, base: Path, new: Path) -> None:
    (new / "existing_tokens.jsonl").write_text(json.dumps(DORMANT) + "\n")
    result = sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out")
    assert result.code == 0 and "existing_tokens" not in result.stderr


def test_a_tokenizer_without_new_tokens_can_still_wake_some(tmp_path: Path, sea: Sea, base: Path) -> None:
    new = byte_level(tmp_path / "same", MERGES[:2])
    file = tmp_path / "woken.jsonl"
    file.write_text(json.dumps(WOKEN) + "\n")
    before, after, records = _rows(sea, base, new, tmp_path / "out", "--reinit", file)
    assert [row["id"] for row in records] == [AB]
    assert torch.equal(after[0][AB], before[0][[A, B]].double().mean(0).float())


def test_pieces_that_do_not_spell_the_token_are_found_anew(tmp_path: Path, sea: Sea, base: Path, new: Path) -> None:
    file = tmp_path / "wrong.jsonl"
    file.write_text(json.dumps(WOKEN | {"pieces": [AB]}) + "\n")  # itself: an untrained row
    _, _, records = _rows(sea, base, new, tmp_path / "out", "--reinit", file)
    assert records[0]["pieces"] == [A, B]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "not a record"),
        (json.dumps(WOKEN | {"reason": "asleep"}), "not a record"),
        (json.dumps(WOKEN | {"pieces": ["a"]}), "not a record"),
        (json.dumps(WOKEN | {"id": 5}), "is not the old token with id 5"),
        (json.dumps(WOKEN | {"id": 9999}), "is not the old token with id 9999"),
        (json.dumps(WOKEN | {"id": ABCD, "token": "abcd"}), "is not the old token"),
    ],
)
def test_a_file_of_another_tokenizer(tmp_path: Path, sea: Sea, base: Path, new: Path, line: str, message: str) -> None:
    file = tmp_path / "file.jsonl"
    file.write_text(json.dumps(DORMANT) + "\n" + line + "\n")
    result = sea("embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out", "--reinit", file)
    assert result.code == 1 and f"{file}:2" in result.stderr and message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_file(tmp_path: Path, sea: Sea, base: Path, new: Path) -> None:
    result = sea(
        "embed-init", base, *MEANS, "--tokenizer", new, "-o", tmp_path / "out", "--reinit", tmp_path / "no.jsonl"
    )
    assert result.code == 1 and "no.jsonl" in result.stderr


def test_a_new_token_at_the_id_of_one_that_went(tmp_path: Path, sea: Sea, base: Path) -> None:
    """As `vocab-extend --reuse-unreachable` gives ids: 258 was `ab` and is `xy` now."""
    new = byte_level(tmp_path / "reused", [(b"x", b"y"), (b"c", b"d")])
    before, after, records = _rows(sea, base, new, tmp_path / "out", "--verify")
    x, y = 2 + ord("x"), 2 + ord("y")
    for old, grown in zip(before, after, strict=True):
        assert len(grown) == 260
        assert torch.equal(grown[AB], old[[x, y]].double().mean(0).float())
        kept = [id for id in range(260) if id != AB]
        assert torch.equal(grown[kept], old[kept])
    assert [(row["token"], row["id"], row["origin"]) for row in records] == [("xy", AB, "new")]
    assert json.loads((tmp_path / "out/dropped_tokens.jsonl").read_text()) == {"token": "ab", "id": AB}


def test_reused_ids_of_vocab_extend(tmp_path: Path, sea: Sea) -> None:
    """`ab` can only be read as `abc` needs it, and no merge makes `zz`: vocab-extend gives its id to a new token."""
    folder = byte_level(tmp_path / "base", [(b"a", b"b"), (b"z", b"z")])
    body = json.loads((folder / "tokenizer.json").read_text())
    body["model"]["merges"].remove(["z", "z"])
    (folder / "tokenizer.json").write_text(json.dumps(body))
    base = llama(folder, 260)
    text = tmp_path / "en.txt"
    text.write_text("hello there hello here\n" * 20)
    flags = ("--add", 4, "-o", tmp_path / "ext", "--reuse-unreachable", "--min-count", 2)
    assert sea("vocab-extend", base, f"en={text}", *flags).code == 0
    old, new = load_tokenizer(base), load_tokenizer(tmp_path / "ext")
    assert old.piece(259) == "zz" and new.piece(259) != "zz"
    before, after, records = _rows(sea, base, tmp_path / "ext", tmp_path / "out")
    by_id = {row["id"]: row for row in records}
    assert 259 in by_id and by_id[259]["origin"] == "new"
    for row in records:
        assert torch.equal(after[0][row["id"]], before[0][row["pieces"]].double().mean(0).float())
    kept = [id for id in range(260) if id not in by_id]
    assert torch.equal(after[0][kept], before[0][kept])
