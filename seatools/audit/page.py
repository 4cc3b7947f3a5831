"""The audit as one HTML page that stands alone: no network, no script, no font of its own, the same bytes each time.

Numbers are those of the records, rounded as in the table, exact in the `value` of their `<data>` element. A policy in
the head forbids the page to load or run anything, so that text which is out to break it finds nothing to use, should it
ever get past the escaping. Bars and tables are tables, with captions and headers; light and dark go by the reader's
settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from seatools import __version__
from seatools.audit.cut_text import byte_spans, cut_html, plain_html
from seatools.audit.measures import MEASURES
from seatools.audit.table import HEADS, SCRIPT_ROWS, cell, short_names
from seatools.audit.text_pass import Audited
from seatools.audit.token_lengths import LABELS, length_chart, length_classes, length_shares

Records = Sequence[Mapping[str, Any]]
Rows = Mapping[tuple[str, str], Mapping[str, Mapping[str, Any]]]
"""(language, tokenizer) -> measure -> record."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_SHOWN = {
    "bytes_per_token": (
        "Bytes per token",
        "More is better, within one script: a letter of Thai or Lao is three bytes.",
    ),
    "fertility": ("Fertility: tokens per word", "Less is better. Only where words have spaces between them."),
    "tokens_per_segmented_word": ("Tokens per word of a segmenter", "Less is better."),
    "tokens_per_syllable": ("Tokens per syllable", "Less is better."),
    "tokens_per_character": ("Tokens per character", "Less is better; what a text costs, before any price."),
    "parity": ("Parity", "Tokens for what takes one token in the reference language. 1 is equal, less is better."),
    "price": ("Cost of the text", "In USD, at the price given."),
    "price_per_million_characters": ("Cost of a million characters", "In USD, at the price given."),
}


class Page:
    """What the page is made of. `audited`: path -> tokenizer, in the order of the command line."""

    def __init__(
        self,
        records: Records,
        audited: Mapping[str, Audited],
        excerpts: Mapping[str, Sequence[tuple[str, bool]]] | None = None,
    ) -> None:
        self._records, self._audited, self._excerpts = records, audited, excerpts or {}
        self._names = short_names(audited)
        self._classes = {path: length_classes(one.table) for path, one in audited.items()}

    def html(self) -> bytes:
        """The whole page, UTF-8."""
        body = self._of_texts() if self._excerpts else self._of_vocabularies()
        title = f"sea audit: {', '.join(self._names.values())}"
        style = files("seatools.audit").joinpath("page.css").read_text(encoding="utf-8")
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="referrer" content="no-referrer">\n'
            f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}"
            f"<footer><p>Made by sea {escape(__version__)}. The page loads nothing and runs nothing.</p></footer>\n"
            "</body>\n</html>\n"
        ).encode("utf-8", "backslashreplace")

    def _of_texts(self) -> str:
        rows: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
        for record in self._records:
            rows.setdefault((record["lang"], record["model"]), {})[record["metric"]] = record
        langs = list(dict.fromkeys(lang for lang, _ in rows))
        links = "".join(f'<li><a href="#lang-{number}">{escape(lang)}</a></li>' for number, lang in enumerate(langs))
        shown = [metric for metric in _SHOWN if any(metric in row for row in rows.values())]
        sections = "".join(self._language(number, lang, rows) for number, lang in enumerate(langs))
        used = [metric for metric in MEASURES if any(metric in row for row in rows.values())]
        meanings = "".join(f"<dt>{escape(_head(metric))}</dt><dd>{escape(MEASURES[metric])}</dd>" for metric in used)
        cost = (
            "" if "price" in shown else '<p class="soft">With --price USD the page has the cost of each language.</p>'
        )
        return (
            "<header>\n<h1>How well tokenizers serve languages</h1>\n"
            f'{self._keys()}\n<nav aria-label="Languages"><ul>{links}</ul></nav>\n</header>\n<main>\n'
            f'<section aria-labelledby="glance">\n<h2 id="glance">At a glance</h2>\n<div class="cards">\n'
            f"{''.join(self._bars(metric, langs, rows) for metric in shown)}</div>\n{cost}</section>\n"
            f'<section aria-labelledby="all">\n<h2 id="all">Every measure</h2>\n{self._table(langs, rows)}</section>\n'
            f'{sections}<section aria-labelledby="means">\n<h2 id="means">What the measures are</h2>\n'
            f"<dl>{meanings}</dl>\n</section>\n</main>\n"
        )

    def _keys(self) -> str:
        items = []
        for number, (path, one) in enumerate(self._audited.items()):
            config = one.config
            items.append(
                f'<li><span><span class="key s{number % 6}"></span><strong>{escape(self._names[path])}</strong></span>'
                f"<small>{escape(config['kind'])}, {config['vocab_size']:,} ids, {escape(path)}, "
                f"digest {config['tokenizer'][:12]}</small></li>"
            )
        return f'<ul class="keys">{"".join(items)}</ul>'

    def _bars(self, metric: str, langs: Iterable[str], rows: Rows) -> str:
        found = {place: row[metric] for place, row in rows.items() if metric in row}
        most = max(max(record.get("ci_high", 0.0), record["value"]) for record in found.values()) or 1.0
        heading, meaning = _SHOWN[metric]
        if metric == "parity":
            config = next(iter(found.values()))["config"]
            meaning = f"{meaning} Reference: {config['reference']}."
        groups = []
        for lang in langs:
            own = [path for path in self._audited if (lang, path) in found]
            lines = []
            for place, path in enumerate(own):
                head = f'<th scope="rowgroup" rowspan="{len(own)}">{escape(lang)}</th>' if place == 0 else ""
                lines.append(f"<tr>{head}{self._bar(found[lang, path], path, metric, most)}</tr>")
            groups.append(f"<tbody>{''.join(lines)}</tbody>" if lines else "")
        heads = "".join(
            f'<th scope="col"><span class="unseen">{name}</span></th>' for name in ("language", "chart", "value")
        )
        return (
            f'<table class="bars"><caption>{escape(heading)}<small>{escape(meaning)}</small></caption>'
            f"<thead><tr>{heads}</tr></thead>{''.join(groups)}</table>\n"
        )

    def _bar(self, record: Mapping[str, Any], path: str, metric: str, most: float) -> str:
        number = list(self._audited).index(path)
        long = 100 * record["value"] / most
        whisker, said = "", ""
        if "ci_low" in record:
            low, high = (100 * record[key] / most for key in ("ci_low", "ci_high"))
            whisker = f'<path class="whisker" d="M{low:.2f} 5H{high:.2f}M{low:.2f} 2V8M{high:.2f} 2V8"/>'
            bounds = [cell(metric, {"value": record[key]}) for key in ("ci_low", "ci_high")]
            said = f", 95 % interval {bounds[0]} to {bounds[1]}"
        label = f"{self._names[path]}: {cell(metric, record)}{said}"
        return (
            f'<td class="bar"><svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(label)}"><title>{escape(label)}</title>'
            f'<rect class="s{number % 6}" x="0" y="0" width="{long:.2f}" height="10"/>{whisker}</svg></td>'
            f"<td>{_data(record, metric)}</td>"
        )

    def _table(self, langs: Iterable[str], rows: Rows) -> str:
        metrics = [metric for metric in HEADS if any(metric in row for row in rows.values())]
        heads = "".join(
            f'<th scope="col" title="{escape(MEASURES[metric])}">{escape(_head(metric, newline=True))}</th>'
            for metric in metrics
        )
        groups = []
        for lang in langs:
            lines = "".join(
                f'<tr><th scope="row" title="{escape(path)}">{escape(self._names[path])}</th>'
                f'<th scope="row">{escape(lang)}</th>'
                + "".join(f"<td>{_data(row.get(metric), metric)}</td>" for metric in metrics)
                + "</tr>"
                for path in self._audited
                if (row := rows.get((lang, path))) is not None
            )
            groups.append(f"<tbody>{lines}</tbody>")
        return (
            '<p class="soft">The last section says what each column is.</p>\n'
            '<div class="wide" role="region" aria-label="Every measure" tabindex="0"><table id="measures">'
            "<caption>A row a language and tokenizer</caption>"
            f'<thead><tr><th scope="col">tokenizer</th><th scope="col">lang</th>{heads}</tr></thead>'
            f"{''.join(groups)}</table></div>\n"
        )

    def _language(self, number: int, lang: str, rows: Rows) -> str:
        name = f"lang-{number}"
        docs = next(row["docs"]["value"] for (own, _), row in rows.items() if own == lang)
        examples = "".join(self._example(lang, *kept) for kept in self._excerpts.get(lang, ()))
        shares = {path: one.tallies[lang].histogram for path, one in self._audited.items() if lang in one.tallies}
        marks = "; underlined: not a token of the first tokenizer, where most are" if len(self._audited) > 1 else ""
        return (
            f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(lang)}</h2>\n'
            f'<p class="soft">{docs:,} documents. Examples are the first; each box is a token{marks}. '
            "Hexadecimal: bytes of a cut character.</p>\n"
            f"{examples}{self._lengths(f'How long the tokens of {lang} are', shares)}</section>\n"
        )

    def _example(self, lang: str, text: str, whole: bool) -> str:
        code = lang.replace("_", "-")  # tha_Thai
        tag = f' lang="{code}"' if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", code) else ""
        end = "" if whole else ' <small aria-label="and so on">\u2026</small>'
        cuts = []
        first = None
        size = len(text.encode())
        for place, (path, one) in enumerate(self._audited.items()):
            ids = one.tokenizer.encode(text)
            spans = byte_spans(ids, one.table, text)
            first = spans if place == 0 else first
            said = f"{len(ids):,} tokens" + (f", {size / len(ids):.2f} bytes per token" if ids else "")
            marked: set[int] = set()
            if place > 0 and first is not None and spans is not None:
                known = set(first)
                marked = {number for number, span in enumerate(spans) if span not in known}
                said += f", {len(marked):,} not among those of the first"
            cuts.append(
                f'<div><h4><span class="key s{place % 6}"></span>{escape(self._names[path])} '
                f"<small>{said}</small></h4>"
                f'<p class="cut" dir="auto"{tag}>{cut_html(ids, one.table, _telling(marked, ids))}{end}</p></div>'
            )
        return f'<p class="text" dir="auto"{tag}>{plain_html(text)}{end}</p>\n<div class="cuts">{"".join(cuts)}</div>\n'

    def _lengths(self, title: str, histograms: Mapping[str, Any]) -> str:
        series = [
            (self._names[path], found)
            for path, histogram in histograms.items()
            if (found := length_shares(self._classes[path], histogram)) is not None
        ]
        if not series:
            return ""
        heads = "".join(f'<th scope="col">{escape(name)}</th>' for name, _ in series)
        keys = "".join(
            f'<span class="key s{number % 6}"></span>{escape(self._names[path])} '
            for number, path in enumerate(self._audited)
            if path in histograms
        )
        lines = "".join(
            f'<tr><th scope="row">{label}</th>'
            + "".join(f'<td><data value="{shares[place]}">{shares[place]:.1%}</data></td>' for _, shares in series)
            + "</tr>"
            for place, label in enumerate(LABELS)
        )
        return (
            f"<h3>{escape(title)}</h3>\n<figure>{length_chart(series, title)}\n"
            f"<figcaption>{keys}<br>Share of the tokens; \u201cpart\u201d holds no whole "
            "character, spaces count.</figcaption></figure>\n"
            f'<details><summary>The same in numbers</summary><table class="plain"><caption>{escape(title)}</caption>'
            f'<thead><tr><th scope="col">characters</th>{heads}</tr></thead><tbody>{lines}</tbody></table></details>\n'
        )

    def _of_vocabularies(self) -> str:
        rows: dict[str, dict[str, Mapping[str, Any]]] = {}
        for record in self._records:
            name = SCRIPT_ROWS.get(record["metric"], str(record["metric"])).format(record["config"].get("script"))
            rows.setdefault(name, {})[record["model"]] = record
        heads = "".join(f'<th scope="col">{escape(self._names[path])}</th>' for path in self._audited)
        lines = "".join(
            f'<tr><th scope="row">{escape(name)}</th>'
            + "".join(
                f'<td><data value="{row[path]["value"]}">{row[path]["value"]:,.0f}</data></td>'
                if path in row
                else "<td>-</td>"
                for path in self._audited
            )
            + "</tr>"
            for name, row in rows.items()
        )
        return (
            f"<header>\n<h1>What the vocabularies of tokenizers hold</h1>\n{self._keys()}\n</header>\n<main>\n"
            '<section aria-labelledby="all">\n<h2 id="all">Tokens by kind and script</h2>\n'
            '<p class="soft">Dormant tokens come of no text. With text given, the page shows how it is cut.'
            "</p>\n"
            '<div class="wide" role="region" aria-label="Tokens by kind and script" tabindex="0">'
            '<table id="measures" class="plain"><caption>Tokens, a column a tokenizer</caption>'
            f'<thead><tr><th scope="col">kind or script</th>{heads}</tr></thead><tbody>{lines}</tbody></table></div>\n'
            f"{self._lengths('How long the tokens are', dict.fromkeys(self._audited))}</section>\n</main>\n"
        )


def _telling(marked: set[int], ids: Sequence[int]) -> set[int]:
    """Marks that tell something: where over a third of the tokens are others, the marks are noise."""
    return marked if 3 * len(marked) <= len(ids) else set()


def _head(metric: str, *, newline: bool = False) -> str:
    """A column's name, with its line breaks or in one line; words that were cut for a terminal are whole."""
    name = HEADS.get(metric, metric).replace("-\n", "")
    return name if newline else name.replace("\n/", " / ").replace("\n", " ")


def _data(record: Mapping[str, Any] | None, metric: str) -> str:
    text = escape(cell(metric, record))
    return text if record is None else f'<data value="{record["value"]}">{text}</data>'
