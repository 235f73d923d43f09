"""A reader of one's own: JSON lines such as ``{"ask": "Party?", "yes": "Gladly.", "no": "No."}``.

Loaded with ``prosopon.plugins.load_plugin("own_reader.py")``; from then on
``load_contrast("interview.jsonl")`` recognises such files like any other.
"""

from typing import Any

from prosopon.data import READERS, Example, Reader
from prosopon.data.readers.base import build, field, has_field, question


def parse(row: Any, where: str) -> list[Example]:
    """Turn one row into an example; ``where`` begins every error, as "interview.jsonl:7"."""
    turns = [("user", question(row, "ask", where)), ("assistant", field(row, "yes", where))]
    return build(turns, where, alternative=field(row, "no", where))


READERS.add(
    "interview",
    Reader(
        name="interview",
        description='{"ask", "yes", "no"}',
        suffixes=(".jsonl", ".json"),
        sniff=has_field("ask"),
        parse=parse,
    ),
)
