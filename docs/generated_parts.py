"""Write docs/reference/, and the parts of other pages between `<!-- generated: sea CMD --help -->` and `<!-- end -->`.

make docs            (a test checks that the committed pages are what this writes)

A command's page has its help and that of its parts, options as a table; reference/topics.md the texts of `sea help`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from seatools.help.definitions import definitions, parts_of
from seatools.help.topic import topic_text, topics
from seatools.streams.flag_definitions import Definition
from seatools.streams.flag_help import spelled

HERE = Path(__file__).resolve().parent
_MADE = "<!-- made by docs/generated_parts.py -->"
_PART = re.compile(r"(<!-- generated: sea ([a-z -]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def option_table(command: Definition) -> str:
    """Arguments and options of a command as a table in Markdown, in the groups of its help."""
    rows = [f"`{command.usage}`", "", "| | |", "|---|---|"]
    rows += [f"| `{_cell(item.metavar)}` | {_cell(item.told)} |" for item in command.arguments]
    for heading, options in command.groups().items():
        rows.append(f"| **{heading}** | |")
        rows += [f"| `{_cell(spelled(option))}` | {_cell(option.told)} |" for option in options]
    return "\n".join(rows) + "\n"


def command_page(name: str, table: dict[str, Definition]) -> str:
    """The reference page of a command and its parts."""
    blocks = [_MADE]
    for number, each in enumerate([name, *(f"{name} {part}" for part in parts_of(name, table))]):
        command = table[each]
        blocks += [f"{'##' if number else '#'} sea {each}", command.summary]
        blocks.append("\n".join(["```sh", *command.examples, "```"]))
        blocks += [f"```text\n{detail}\n```" if "\n" in detail else detail for detail in command.details]
        blocks.append(option_table(command).rstrip("\n"))
    return "\n\n".join(blocks) + "\n"


def topics_page() -> str:
    """The texts of `sea help TOPIC` on one page."""
    texts = (f"## {name}\n\n```text\n{topic_text(name, 100)}```" for name in topics())
    return "\n\n".join([_MADE, "# sea help", *texts]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def generated() -> dict[str, str]:
    """Page (relative to docs/) -> what it must hold, of the pages that have generated parts."""
    table = definitions()

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}{option_table(table[found[2].removesuffix(' --help')])}{found[3]}"

    pages = {f"reference/{name}.md": command_page(name, table) for name in table if " " not in name}
    pages["reference/topics.md"] = topics_page()
    for path in sorted({*HERE.glob("*.md"), *HERE.glob("papers/*.md")}):
        text = path.read_text(encoding="utf-8")
        if _PART.search(text):
            pages[str(path.relative_to(HERE))] = _PART.sub(part, text)
    return pages


if __name__ == "__main__":
    (HERE / "reference").mkdir(exist_ok=True)
    for name, text in generated().items():
        if not (HERE / name).exists() or (HERE / name).read_text(encoding="utf-8") != text:
            (HERE / name).write_text(text, encoding="utf-8")
            sys.stderr.write(f"{HERE / name}\n")
