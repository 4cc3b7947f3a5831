"""`sea eval tasks`: the tasks there are, or the TOML of one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from seatools.streams.flags import Debug, Json, new_app, prints_jsonl, run_app

app = new_app()


@app.command(name="tasks")
def tasks(
    name: Annotated[str | None, typer.Argument(metavar="[TASK]", help="one task: its file is printed")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """The tasks that come with sea, or one of them as the TOML file that it is, to copy and change.

    \b
    examples:
      sea eval tasks
      sea eval tasks xcopa > mine.toml
      sea eval MODEL mine.toml --data th=xcopa_th.jsonl
    """
    from seatools.eval.task_file import builtin_names, load_task, task_text
    from seatools.streams.records import dump

    if name is not None:
        sys.stdout.write(task_text(name))
        return
    files = [load_task(own) for own in builtin_names()]
    if prints_jsonl(json):
        rows = (
            {"name": file.name, "type": file.type, "scoring": file.scoring, "shots": file.shots.count,
             "variants": list(file.variants), "languages": list(file.languages), "about": file.about}
            for file in files
        )  # fmt: skip
        sys.stdout.buffer.write(b"".join(dump(row) + b"\n" for row in rows))
        return
    from rich.table import Table

    from seatools.streams.tables import show_table

    table = Table()
    for column in ("task", "type", "variants", "what it is"):
        table.add_column(column)
    for file in files:
        table.add_row(file.name, file.type, " ".join(f":{own}" for own in file.variants), file.about)
    show_table(table, prose=["what it is"])


def main(argv: list[str]) -> int:
    """`sea eval ARGV` for an ARGV that begins with "tasks"."""
    return run_app(app, "eval tasks", argv[1:])
