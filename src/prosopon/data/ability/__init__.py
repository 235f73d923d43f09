"""Neutral questions with one right answer: what a persona must not cost."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from prosopon.data.tables import read_table, table_rows
from prosopon.errors import DataError

BUNDLED = Path(__file__).with_name("neutral.toml")


@dataclass(frozen=True)
class AbilityItem:
    """A neutral question."""

    kind: str  # what it takes: ``sums``, ``facts``,
    question: str  # what is asked
    right: str  # the right answer
    wrong: tuple[str, ...]  # wrong ones, at least one


@cache
def load_ability(path: Path = BUNDLED) -> tuple[AbilityItem, ...]:
    """Return the items of a TOML file: tables ``[[item]]`` with kind, question, right, wrong.

    Raises:
        DataError: The file cannot be read, or an item is not so; names the item.
    """
    return tuple(_item(*item) for item in table_rows(read_table(path), "item", path))


def _item(row: dict[str, Any], where: str) -> AbilityItem:
    texts = [row.get(name) for name in ("question", "right")]
    wrong = row.get("wrong")
    if not all(isinstance(t, str) and t.strip() for t in texts):
        raise DataError(f"{where}: question and right must be texts")
    if not isinstance(wrong, list) or not wrong or not all(isinstance(w, str) for w in wrong):
        raise DataError(f"{where}: wrong must be a list of texts, at least one")
    if row["right"] in wrong:
        raise DataError(f"{where}: the right answer {row['right']!r} is among the wrong ones")
    return AbilityItem(str(row.get("kind", "other")), row["question"], row["right"], tuple(wrong))
