"""`sea eval score` and `sea eval compare`, through their modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_samples import choice, nats

from seatools.eval import compare_command, score_command
from seatools.eval.sample_file import SampleFile
from seatools.eval.samples import Sample
from seatools.streams.errors import SeaError, UsageError


def write(path: Path, samples: list[Sample]) -> Path:
    with SampleFile(path) as file:
        for one in samples:
            file.append(one)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Samples of two models."""
    a = [choice(n, right=n % 2 > 0) for n in range(10)] + [nats(n, 9.0 + n, 20) for n in range(5)]
    b = [choice(n, right=n % 5 > 0, model="b", model_digest="w2") for n in range(10)]
    return write(tmp_path / "a.jsonl", a), write(tmp_path / "b.jsonl", b)


def test_score_prints_records(files: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert score_command.main(["score", *map(str, files), "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(row["task"], row["metric"], row["model"], row["n"]) for row in rows] == [
        ("perplexity", "bits_per_byte", "m", 5),
        ("quiz", "acc", "m", 10), ("quiz", "acc_norm", "m", 10), ("quiz", "acc", "b", 10),
        ("quiz", "acc_norm", "b", 10),
    ]  # fmt: skip


def test_score_writes_the_same_bytes_for_any_order(files: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = map(str, files)
    outs = [tmp_path / name for name in ("1.json", "2.json", "3.jsonl")]
    for out, order in zip(outs, ([a, b], [b, a], [a, b]), strict=True):
        harness = ["--harness", str(tmp_path / f"{out.name}.d")]
        assert score_command.main(["score", *order, "-o", str(out), *harness]) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert json.loads(outs[0].read_bytes()) == [json.loads(line) for line in outs[2].read_text().splitlines()]
    trees = [
        {
            path.relative_to(tmp_path / f"{out.name}.d"): path.read_bytes()
            for path in (tmp_path / f"{out.name}.d").rglob("results_*")
        }
        for out in outs
    ]
    assert trees[0] == trees[1] == trees[2]
    assert {path.parent.name for path in trees[0]} == {"m", "b"}
    assert json.loads((tmp_path / "1.json.manifest.json").read_text())["counts"] == {"samples": 25, "scores": 5}


def test_score_leaves_a_torn_line_out_and_says_so(
    files: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(files[1].read_bytes()[:-20])
    assert score_command.main(["score", str(torn)]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out.splitlines()[0])["n"] == 9
    assert "torn.jsonl: the last line is cut off" in err


def test_score_refuses_what_it_must(files: tuple[Path, Path], tmp_path: Path) -> None:
    a = str(files[0])
    (tmp_path / "there.json").write_text("keep")
    with pytest.raises(UsageError, match="exists"):
        score_command.main(["score", a, "-o", str(tmp_path / "there.json")])
    assert (tmp_path / "there.json").read_text() == "keep"
    with pytest.raises(UsageError, match="both input and output"):
        score_command.main(["score", a, "-o", a, "--force"])
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(SeaError, match="no samples"):
        score_command.main(["score", str(tmp_path / "empty.jsonl")])
    (tmp_path / "scores.jsonl").write_text('{"task": "xcopa", "value": 0.5}\n')
    with pytest.raises(SeaError, match="no sample"):
        score_command.main(["score", str(tmp_path / "scores.jsonl")])


def test_compare_prints_rows_and_warnings(files: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert compare_command.main(["compare", *map(str, files), "--json"]) == 0
    out, err = capfd.readouterr()
    first = json.loads(out.splitlines()[0])
    assert (first["metric"], first["a"], first["b"], first["only_a"], first["only_b"]) == ("acc", 0.5, 0.8, 1, 4)
    assert first["p"] == 0.375
    assert "only in A: perplexity th" in err


def test_compare_writes_a_file_with_its_manifest(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "c.jsonl"
    assert compare_command.main(["compare", *map(str, files), "-o", str(out), "-q"]) == 0
    assert len(out.read_text().splitlines()) == 2
    manifest = json.loads((tmp_path / "c.jsonl.manifest.json").read_text())
    assert [Path(row["path"]).name for row in manifest["inputs"]] == ["a.jsonl", "b.jsonl"]


def test_tables_for_people(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (compare_command, score_command):
        monkeypatch.setattr(module, "prints_jsonl", lambda json: json)
    monkeypatch.setenv("COLUMNS", "200")
    assert compare_command.main(["compare", *map(str, files)]) == 0
    shown = capsys.readouterr().out
    assert "+0.3000" in shown and "0.3750" in shown and "p Holm" in shown
    assert score_command.main(["score", str(files[0])]) == 0
    assert "bits_per_byte" in capsys.readouterr().out


def test_compare_refuses_what_it_must(files: tuple[Path, Path]) -> None:
    a, b = map(str, files)
    with pytest.raises(UsageError, match="KEY=VALUE"):
        compare_command.main(["compare", a, b, "--a", "shots"])
    with pytest.raises(UsageError, match="both stdin"):
        compare_command.main(["compare", "-", "-"])
    with pytest.raises(SeaError, match="no task and language in common"):
        compare_command.main(["compare", a, b, "--a", "shots=5"])
    with pytest.raises(UsageError, match="max-unpaired"):
        compare_command.main(["compare", a, b, "--max-unpaired", "2"])


def test_no_model_library_is_loaded() -> None:
    code = (
        "import sys; from seatools.eval import compare_command, score_command;"
        "from seatools.eval import compare, harness_layout, results, sample_file;"
        "print([name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
