"""The wheel and the sdist: what is in them, and that they run where the repository is not.

The environment is new and holds the wheel and the base dependencies only: links to the distributions that they need
where this test runs, found through their metadata, so that nothing is downloaded and no extra is there by chance.
`make release` has it look at the files that it built (SEA_DIST).
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from seatools.cli import COMMANDS
from seatools.streams.extras import EXTRAS

REPOSITORY = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("installation")]


def built(folder: Path, source: Path, kind: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if dist := os.environ.get("SEA_DIST"):
        return next(Path(dist).absolute().glob("*.whl"))
    pytest.importorskip("hatchling")
    return built(tmp_path_factory.mktemp("wheel"), REPOSITORY, "wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if dist := os.environ.get("SEA_DIST"):
        return next(Path(dist).absolute().glob("*.tar.gz"))
    pytest.importorskip("hatchling")
    return built(tmp_path_factory.mktemp("sdist"), REPOSITORY, "sdist")


def needed(names: list[str]) -> dict[str, metadata.Distribution]:
    """The distributions of these requirements and of all that they need, without extras, as they are installed here."""
    found: dict[str, metadata.Distribution] = {}
    left = list(names)
    while left:
        requirement = left.pop()
        if ";" in requirement and not _applies(requirement):
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another platform
            continue
        left += found[name].requires or []
    return found


def _applies(requirement: str) -> bool:
    from packaging.requirements import Requirement

    marker = Requirement(requirement).marker
    return marker is None or marker.evaluate({"extra": ""})


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that has the wheel and the base dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    requires = metadata.PathDistribution(site / info).requires or []
    for distribution in needed([line for line in requires if "extra ==" not in line]).values():
        for file in distribution.files or ():
            top = file.parts[0]
            place = Path(str(distribution.locate_file(top)))
            if top not in ("..", "__pycache__") and place.exists() and not (site / top).exists():
                (site / top).symlink_to(place)
    program = folder / "bin" / "python"
    (folder / "bin" / "sea").write_text(f"#!{program}\nfrom seatools.cli import run\nrun()\n")
    (folder / "bin" / "sea").chmod(0o755)
    return program


@pytest.fixture
def sea(python: Path, tmp_path: Path):
    """`sea ARGS` of that environment, in an empty folder, with nothing of this process's environment."""

    def run(*argv: object) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
        words = [str(python.parent / "sea"), *map(str, argv)]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every file of seatools but caches; no tests, no benchmarks."""
    names = zipfile.ZipFile(wheel).namelist()
    ours = {
        file.relative_to(REPOSITORY).as_posix()
        for file in (REPOSITORY / "seatools").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == ours
    text = next(name for name in names if name.endswith("/METADATA"))
    about = zipfile.ZipFile(wheel).read(text).decode()
    assert "\nName: sea-adapt\n" in about and "\nRequires-Python: >=3.11\n" in about and "# sea" in about
    entry = next(name for name in names if name.endswith("/entry_points.txt"))
    assert b"sea = seatools.cli:run" in zipfile.ZipFile(wheel).read(entry)


def test_the_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
        names = archive.getnames()
    (source,) = (tmp_path / "source").iterdir()
    for part in ("tests/conftest.py", "docs/train.md", "completions/sea.bash", "examples/adapt.mk", "Makefile"):
        assert f"{source.name}/{part}" in names
    (tmp_path / "out").mkdir()
    again = built(tmp_path / "out", source, "wheel")
    assert again.name == wheel.name
    first, second = zipfile.ZipFile(wheel), zipfile.ZipFile(again)
    assert first.namelist() == second.namelist()
    assert [name for name in first.namelist() if first.read(name) != second.read(name)] == []


def test_every_command_shows_its_help(sea) -> None:
    for argv in ([], *([name] for name in COMMANDS)):
        done = sea(*argv, "--help")
        assert done.returncode == 0 and "sea " in done.stdout and done.stderr == "", argv


def test_a_real_run(sea, shared: Path, tmp_path: Path) -> None:
    """The data files of the package are there, and what was made is verified from its manifest."""
    lines = (shared / "data/mono/en_commonvoice.txt").read_text(encoding="utf-8").splitlines()[:80]
    (tmp_path / "en.txt").write_text("\n".join(lines), encoding="utf-8")
    model = shared / "models/stories260K"
    for argv in (
        ["clean", "en=en.txt", "--quality", "--dedup", "exact", "-o", "clean.jsonl"],
        ["mix", "en=clean.jsonl:1", "--tokenizer", model, "--budget", "1k", "-o", "mix.jsonl"],
        ["vocab-extend", model, "en=mix.jsonl", "--add", "5", "-o", "tok"],
        ["audit", "tok", "en=en.txt", "-o", "audit.jsonl"],
        ["verify", "tok", "audit.jsonl"],
    ):
        done = sea(*argv)
        assert done.returncode == 0, (argv, done.stderr)
    tasks = [json.loads(line)["name"] for line in sea("eval", "tasks").stdout.splitlines()]
    assert {"belebele", "flores", "xquad"} <= set(tasks)
    assert sea("help", "formats").returncode == 0


def test_each_missing_extra_answers_in_one_line(sea, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "th.txt").write_text("ภาษาไทย\n" * 20, encoding="utf-8")
    model = shared / "models/stories260K"
    assert sea("vocab-extend", model, "th=th.txt", "--add", "3", "-o", "tok").returncode == 0
    train = ["train", model, "th.txt", "-o", "out", "--max-steps", "1"]
    asked = {
        "pycld2": ["clean", "th.txt", "--lang", "th", "--lang-id", "cld2"],
        "pythainlp": ["audit", model, "th=th.txt", "--segment"],
        "gensim": ["embed-init", model, "--tokenizer", "tok", "--method", "focus", "--text", "th.txt", "-o", "init"],
        "matplotlib": [*train, "--plot", "curves.svg"],
        "wandb": [*train, "--track", "wandb"],
    }
    for package, argv in asked.items():
        done = sea(*argv)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
        assert (done.returncode, lines) == (
            1,
            [
                f"error: this needs {package}, which is not installed",
                f'  fix: pip install "sea-adapt[{EXTRAS[package]}]"',
            ],
        )
    assert not (tmp_path / "out").exists() and not (tmp_path / "init").exists()


def test_every_import_belongs_to_a_dependency_or_an_extra() -> None:
    """A package that the code names and pyproject does not would be there by chance."""
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    declared = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("-", "_") for line in declared}
    packages = names | {"google", "fasttext", "mistral_common", "huggingface_hub", "peft", "seatools"} | set(EXTRAS)
    unknown = set()
    for path in (REPOSITORY / "seatools").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [item.name for item in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                named.append(node.module)
            unknown |= {
                f"{path.name}: {name}" for name in named if _top(name) not in packages | sys.stdlib_module_names
            }
    assert unknown == set()
    extras = project["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(extras)


def _top(name: str) -> str:
    return name.partition(".")[0]
