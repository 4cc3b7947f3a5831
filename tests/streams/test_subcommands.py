"""A misspelt subcommand and a model that is not there are told as such."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("train", "aply-patch", "M", "p", "-o", "X"), "sea train apply-patch"),
        (("lsn-detect", "stat", "M", "--lang", "th=a", "-o", "X"), "sea lsn-detect stats"),
        (("eval", "comapre", "a", "b"), "sea eval compare"),
    ],
)
def test_a_misspelt_subcommand_is_no_model(sea: Callable[..., Any], words: tuple[str, ...], meant: str) -> None:
    result = sea(*words)
    assert result.code == 2 and f"did you mean `{meant}`?" in result.stderr


def test_a_folder_of_that_name_is_a_model(
    sea: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("stat").mkdir()
    Path("a.txt").write_text("a\n")
    result = sea("lsn-detect", "stat", "--lang", "th=a.txt", "--method", "plnd", "-o", "X")
    assert result.code != 0 and "did you mean" not in result.stderr


def test_a_model_that_is_not_there_is_no_missing_tokenizer(sea: Callable[..., Any], tmp_path: Path) -> None:
    text = tmp_path / "th.txt"
    text.write_text("a\n")
    for words in (
        ("train", "NOPE", text, "-o", tmp_path / "X"),
        ("eval", "NOPE", "perplexity", "--data", f"th={text}"),
    ):
        result = sea(*words)
        assert (
            result.code == 2 and "NOPE: no such model folder" in result.stderr and "tokenizer file" not in result.stderr
        )
    result = sea("train", text, tmp_path, "-o", tmp_path / "X")
    assert result.code == 2 and "is a file, not a model folder" in result.stderr
