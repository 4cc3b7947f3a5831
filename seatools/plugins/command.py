"""`sea plugins`: what installed packages add to sea, read from their metadata."""

from __future__ import annotations

from typing import Annotated

import typer

from seatools.streams.flags import Config, Debug, Json, Quiet, Verbose, new_app, prints_jsonl, run_app

app = new_app()


@app.command()
def plugins(
    load: Annotated[bool, typer.Option("--load", help="import each of them too, and tell which cannot be")] = False,
    json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """List the commands, evaluation tasks, language identification and quality rules that installed packages add.

    \b
    examples:
      sea plugins
      SEA_LOAD_PLUGINS=sea-wisesight sea plugins --load

    A plugin is imported when its name is used, not before. SEA_LOAD_PLUGINS= (empty) turns all of them off, a list of
    distributions all others. One with a name that is built in, or that two distributions bring, is never used; then
    the exit code is 3, as where one cannot be loaded.
    """
    from seatools.plugins.listing import show

    show(load=load, json=prints_jsonl(json))


def main(argv: list[str]) -> int:
    """`sea plugins ARGV`."""
    return run_app(app, "plugins", argv)
