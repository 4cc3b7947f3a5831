"""Which vocabulary rows are new: by the lists that `embed-init` and `vocab-extend` leave.

`embed-init` writes OUT/new_rows.jsonl, a record for each row it made, those it made anew for woken tokens too; without
one, `vocab-extend`'s new_tokens.jsonl counts if it lies in the model's folder. Both have an `id` in every record.
"""

from __future__ import annotations

import json
from pathlib import Path

from seatools.streams.errors import SeaError, UsageError

NEW_ROWS, NEW_TOKENS = "new_rows.jsonl", "new_tokens.jsonl"


def new_row_ids(folder: Path) -> list[int]:
    """The ids in the list in the model's `folder`, ascending.

    Raises UsageError where there is no list, SeaError for one that is broken, empty, or names an id twice.
    """
    path = next((folder / name for name in (NEW_ROWS, NEW_TOKENS) if (folder / name).is_file()), None)
    if path is None:
        raise UsageError(
            f"which rows of {folder} are new? It has neither {NEW_ROWS} (of embed-init) nor {NEW_TOKENS}",
            fix="copy the list there, or say --first-new-row N: the rows from N to the tokenizer's last id",
        )
    ids: list[int] = []
    mend = "make the list again"
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            id = json.loads(line)["id"]
        except (ValueError, KeyError, TypeError) as error:
            raise SeaError('is not a record with an "id"', where=f"{path}:{number}", fix=mend) from error
        if type(id) is not int or id < 0:
            raise SeaError(f"{id!r} is not an id", where=f"{path}:{number}", fix=mend)
        ids.append(id)
    if not ids:
        raise SeaError("lists no new row", where=str(path), fix="there is nothing for --train new-rows to train")
    if len(set(ids)) < len(ids):
        raise SeaError("lists an id twice", where=str(path), fix=mend)
    return sorted(ids)
