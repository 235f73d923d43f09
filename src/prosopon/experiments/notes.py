"""What a task says of an arm as a whole: a type, how reliable it is, who judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prosopon.experiments.records import Record

ELSEWHERE = {"judges", "distinct-bigrams"}
"""Notes that stand on the page already, or that its repetition says as well."""


@dataclass(frozen=True)
class Notes:
    """A task's notes.

    Attributes:
        task: The task.
        shared: (note, value) of what is the same for every arm, contrast and seed.
        headings: ``arm``, ``persona``, ``seed``, then the notes that differ.
        rows: One for every arm, contrast and seed.
    """

    task: str
    shared: tuple[tuple[str, str], ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def notes_of(records: Sequence[Record]) -> list[Notes]:
    """Return the notes of every task that has some, as tables."""
    by_task: dict[str, list[tuple[Record, dict[str, str]]]] = {}
    for record in records:
        for task, result in record.results.items():
            told = {n: _shown(v) for n, v in result.notes.items() if n not in ELSEWHERE}
            if told:
                by_task.setdefault(task, []).append((record, told))
    return [_table(task, found) for task, found in sorted(by_task.items())]


def _table(task: str, found: Sequence[tuple[Record, Mapping[str, str]]]) -> Notes:
    names = list(dict.fromkeys(name for _, told in found for name in told))
    values = {name: {told.get(name, "-") for _, told in found} for name in names}
    own = [name for name in names if len(values[name]) > 1]
    rows = [
        (r.cell.arm, r.cell.contrast, str(r.cell.seed), *(told.get(name, "-") for name in own))
        for r, told in found
    ]
    shared = tuple((name, values[name].pop()) for name in names if name not in own)
    return Notes(task, shared, ("arm", "persona", "seed", *own), tuple(rows) if own else ())


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:.3f}"
    return "-" if value is None else str(value)
