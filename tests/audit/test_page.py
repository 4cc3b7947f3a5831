"""The page of `sea audit --html`: its numbers, its structure, what it never holds, and that a browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from seatools.audit.page import Page
from seatools.audit.table import cell
from seatools.audit.token_lengths import LABELS, length_chart, length_shares

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
_VOID = {"meta", "br", "rect", "path"}


class Tree(HTMLParser):
    """Elements with their attributes and text; fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[dict] = []
        self.all: list[dict] = []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "in": [one["tag"] for one in self.open], "text": "", **dict(attrs)}
        self.all.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def named(self, tag):
        return [element for element in self.all if element["tag"] == tag]


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "en.txt").write_text("the\nthe <b>the</b>\n")
    (tmp_path / "th.jsonl").write_text('{"text": "กา"}\n{"text": "กำ the"}\n', encoding="utf-8")
    return f"en={tmp_path / 'en.txt'}", f"th={tmp_path / 'th.jsonl'}"


@pytest.fixture
def made(sea, tokenizer, texts, tmp_path):
    """(records, page) of two tokenizers on two languages."""
    second = tmp_path / "second"
    shutil.copytree(tokenizer, second)
    (second / "merges.txt").write_text("t h\n")
    out = tmp_path / "report.html"
    result = sea("audit", tokenizer, second, *texts, "--reference", "en", "--price", "2", "--html", out)
    assert result.code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()], out.read_text(encoding="utf-8")


def test_numbers_are_those_of_the_records(made):
    records, html = made
    tree = Tree(html)
    measures = [row for row in tree.named("data") if row["in"].count("div")]  # the wide table stands in a div
    shown = [(float(row["value"]), row["text"]) for row in measures]
    wanted = [(record["value"], cell(record["metric"], record)) for record in records if record["metric"] != "bytes"]
    assert sorted(set(shown)) == sorted(set(wanted))
    rates = [record for record in records if record["metric"] == "parity"]
    table = html[html.index("Parity") :]
    bars = [float(value) for value in re.findall(r'<data value="([^"]+)"', table[: table.index("</table>")])]
    assert bars == [record["value"] for lang in ("en", "th") for record in rates if record["lang"] == lang]
    assert re.search(r'aria-label="tokenizer: [0-9.]+, 95 % interval [0-9.]+ to [0-9.]+"', html)


def test_the_tokens_are_the_tokenizers(made):
    _, html = made
    assert '<span title="id 257">the</span><span title="id 32">' in html  # the first tokenizer has "the"
    assert '<span class="n" title="id 256">th</span><span class="n" title="id 101">e</span>' in html
    assert "&lt;b&gt;the&lt;/b&gt;" in html and "<b>" not in html
    assert "2 not among those of the first" in html


def test_tables_have_captions_and_headers_and_languages_are_marked(made):
    tree = Tree(made[1])
    assert len(tree.named("table")) == len(tree.named("caption")) >= 6
    assert all(row.get("scope") in ("row", "col", "rowgroup") for row in tree.named("th"))
    assert {row.get("lang") for row in tree.named("p") if row.get("class") == "cut"} == {"en", "th"}
    ids = [row["id"] for row in tree.all if row.get("id")]
    assert len(ids) == len(set(ids))
    assert {row["href"][1:] for row in tree.named("a")} <= set(ids)
    assert [row["text"] for row in tree.named("h1")] and not tree.named("script")
    assert all(row.get("role") == "img" for row in tree.named("svg"))


def test_the_page_asks_for_nothing_from_outside(made):
    html = made[1]
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|src=|@import|url\(|javascript:|<link|<script|\bon\w+=", html)


def test_hostile_text_and_labels_stay_text(sea, tokenizer, tmp_path):
    text = "</p></style><script>document.title='OWNED'</script><img src=x onerror=alert(1)> \u202e\" ' &amp; \ufffe"
    rows = [{"text": text, "lang": "\"><i>&lt;'"}, {"text": text, "lang": "x"}]
    source = tmp_path / "t.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = shutil.copytree(tokenizer, tmp_path / "<b onload=x>&")
    out = tmp_path / "r.html"
    assert sea("audit", named, source, "--html", out).code == 0
    tree = Tree(out.read_text(encoding="utf-8"))
    assert not tree.named("script") and not tree.named("img") and not tree.named("b")
    assert not any(key.startswith("on") for row in tree.all for key in row)
    assert [row["text"] for row in tree.named("h2") if row["id"].startswith("lang-")] == ["\"><i>&lt;'", "x"]
    assert "\u202e" not in out.read_text(encoding="utf-8") and "\ufffe" not in out.read_text(encoding="utf-8")


def test_bytes_repeat_and_stand_with_a_manifest(sea, tokenizer, texts, tmp_path):
    one, two = tmp_path / "1.html", tmp_path / "2.html"
    for out in (one, two):
        assert sea("audit", tokenizer, *texts, "--html", out, "--workers", "1").code == 0
    assert one.read_bytes() == two.read_bytes()
    manifest = json.loads((tmp_path / "1.html.manifest.json").read_text())
    assert [row["path"] for row in manifest["outputs"]] == [str(one)]
    assert str(tmp_path / "en.txt") in {row["path"] for row in manifest["inputs"]}


def test_the_page_and_the_records_may_both_be_files(sea, tokenizer, texts, tmp_path):
    out, page = tmp_path / "r.jsonl", tmp_path / "r.html"
    assert sea("audit", tokenizer, *texts, "-o", out, "--html", page).code == 0
    assert out.read_bytes() == sea("audit", tokenizer, *texts).stdout
    manifest = json.loads((tmp_path / "r.jsonl.manifest.json").read_text())
    assert {row["path"] for row in manifest["outputs"]} == {str(out), str(page)}


def test_a_pipe_that_closes_leaves_the_page_and_its_manifest(tokenizer, texts, tmp_path):
    out = tmp_path / "r.html"
    command = [sys.executable, "-m", "seatools", "audit", str(tokenizer), *texts, "--html", str(out)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    running.stdout.close()
    assert running.wait(60) == 141, running.stderr.read()
    running.stderr.close()
    assert out.exists() and (tmp_path / "r.html.manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{text}", "--html", "{folder}/old.html"], "old.html exists"),
        (["{text}", "--html", "{folder}/none/r.html"], "no such folder"),
        (["{text}", "--html", "-"], "--html writes a file"),
        (["{text}", "--html", "{folder}/r.csv", "-o", "{folder}/r.csv"], "are the same file"),
        (["--list", "dormant", "--html", "{folder}/r.html"], "--list prints tokens"),
        (["{text}", "--html", "{folder}/en.txt", "--force"], "both input and output"),
        (["{text}", "--html", "{folder}/tokenizer/vocab.json", "--force"], "both input and output"),
    ],
)
def test_refused(sea, tokenizer, texts, tmp_path, arguments, message):
    (tmp_path / "old.html").write_text("old")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = sea("audit", tokenizer, *(one.format(text=texts[0], folder=tmp_path) for one in arguments))
    assert result.code == 2 and message in result.stderr and result.stdout == b""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_page_of_vocabularies(sea, tokenizer, tmp_path):
    out = tmp_path / "v.html"
    result = sea("audit", tokenizer, "--html", out)
    assert result.code == 0
    tree = Tree(out.read_text(encoding="utf-8"))
    records = [json.loads(line) for line in result.stdout.splitlines()]
    shown = [float(row["value"]) for row in tree.named("data") if "div" in row["in"]]
    assert shown == [record["value"] for record in records]
    shares = [float(row["value"]) for row in tree.named("data") if "details" in row["in"]]
    assert shares == pytest.approx([128 / 258, 128 / 258, 1 / 258, 1 / 258] + [0] * 10)


def test_token_lengths_are_counted_by_occurrence():
    classes = np.array([0, 1, 2, 13, -1])
    assert length_shares(classes, np.array([2, 1, 0, 1, 9])) == [0.5, 0.25, *[0] * 11, 0.25]
    assert length_shares(classes, np.array([0, 0, 0, 0, 9])) is None
    svg = length_chart([("a", [0.5, 0.25, *[0.0] * 11, 0.25]), ("b", [1.0, *[0.0] * 13])], "t<")
    assert svg.count('class="s0"') == 3 and svg.count('class="s1"') == 1 and "<title>t&lt;</title>" in svg
    assert len(LABELS) == 14
    tall = [float(found) for found in re.findall(r'class="s0"[^>]*height="([\d.]+)"', svg)]
    assert tall[0] == pytest.approx(2 * tall[1]) and tall[1] == tall[2]


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast(scheme):
    """WCAG 2.2: 7 for text, 4.5 for what is said beside, 3 for pictures."""
    css = files("seatools.audit").joinpath("page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, re.S)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[scheme]))
    tokens = [f"t{number}" for number in range(6)]
    for back in ("paper", "panel", *tokens):
        assert contrast(colours["ink"], colours[back]) >= 7, back
        assert contrast(colours["soft"], colours[back]) >= (3 if back in tokens else 4.5), back
    assert contrast(colours["link"], colours["paper"]) >= 4.5
    for number in range(6):
        assert contrast(colours[f"s{number}"], colours["paper"]) >= 3, number
        assert contrast(colours["mark"], colours[f"t{number}"]) >= 3, number


def test_a_browser_shows_it_and_runs_nothing(made, sea, tokenizer, tmp_path):
    if CHROMIUM is None:
        pytest.skip("needs a browser: apt-get install chromium")
    hostile = tmp_path / "h.txt"
    hostile.write_text("<script>document.title='OWNED'</script><img src=x onerror=\"document.title='OWNED'\">\n")
    page = tmp_path / "h.html"
    assert sea("audit", tokenizer, f"en={hostile}", "--html", page).code == 0
    common = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
    ]  # fmt: skip
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [*common, "--enable-logging=stderr", "--v=0", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "<title>sea audit: tokenizer</title>" in done.stdout and "<script" not in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr  # a policy's refusal would be said here
    both = tmp_path / "report.html"
    shot = [*common, "--window-size=1400,900", "--hide-scrollbars", f"--screenshot={picture}", both.as_uri()]
    subprocess.run(shot, capture_output=True, timeout=60, check=True)
    image = pytest.importorskip("PIL.Image").open(picture).convert("RGB")
    seen = {colour for _, colour in image.getcolors(1 << 24)}
    assert image.size == (1400, 900) and {(0, 0x72, 0xB2), (0xC7, 0x54, 0)} <= seen  # the bars of both tokenizers


def test_a_page_of_one_language_without_words_or_prices():
    page = Page([], {})
    assert page.html().startswith(b"<!doctype html>")
