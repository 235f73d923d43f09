"""What a task says of an arm as a whole: a type, how reliable it is, who judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prosopon.experiments.records import Record

ELSEWHERE = {"judges", "judge-checks", "kappa", "questions", "distinct-bigrams"}
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
            texts = {n: _as_text(v) for n, v in result.notes.items() if n not in ELSEWHERE}
            if texts:
                by_task.setdefault(task, []).append((record, texts))
    return [_table(task, rows) for task, rows in sorted(by_task.items())]


def _table(task: str, notes: Sequence[tuple[Record, Mapping[str, str]]]) -> Notes:
    names = list(dict.fromkeys(name for _, texts in notes for name in texts))
    values = {name: {texts.get(name, "-") for _, texts in notes} for name in names}
    own = [name for name in names if len(values[name]) > 1]
    rows = [
        (r.name, r.cell.contrast, str(r.cell.seed), *(texts.get(name, "-") for name in own))
        for r, texts in notes
    ]
    shared = tuple((name, values[name].pop()) for name in names if name not in own)
    return Notes(task, shared, ("arm", "persona", "seed", *own), tuple(rows) if own else ())


def _as_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_as_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value))
    if isinstance(value, float):
        return f"{value:.3f}"
    return "-" if value is None else str(value)
