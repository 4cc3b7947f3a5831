"""Documents by number and by source."""

from __future__ import annotations

import numpy as np
import pytest

from seatools.streams.records import Record
from seatools.text.cleaning.survivor_spool import SurvivorSpool


def test_documents_come_back_with_their_place_and_language():
    spool = SurvivorSpool()
    for line, (source, lang) in enumerate([("a", "th"), ("a", None), ("b", "th"), ("a", "lo")], 1):
        spool.add(Record(b'{"text":"%d"}' % line, {}, f"{source}.jsonl", line), lang, source, is_changed=line == 2)
    assert len(spool) == 4 and spool.tags == ["th", "und", "lo"]
    assert spool.tag_numbers().tolist() == [0, 1, 0, 2] and spool.changed().tolist() == [False, True, False, False]
    assert [spool.source(number) for number in range(4)] == ["a", "a", "b", "a"]
    assert (spool.runs("a"), spool.runs("b"), spool.runs("c")) == ([range(2), range(3, 4)], [range(2, 3)], [])
    picked = list(spool.records(np.array([3, 0])))
    assert [(record.value["text"], record.where) for record in picked] == [("4", "a.jsonl:4"), ("1", "a.jsonl:1")]
    spool.close()
    with pytest.raises(ValueError, match="closed"):
        spool.record(0)
