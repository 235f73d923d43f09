"""What became of a cell, and the folder that holds all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from prosopon.errors import CompareError
from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.cells import CellFolder
from prosopon.experiments.plan import Cell

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Record:
    """One arm's answers on one contrast.

    Attributes:
        key: Key of the cell.
        cell: The cell.
        status: ``done``; ``refused``: the arm has no meaning here; ``failed``.
        message: Why, unless it is done.
        kind: The arm's kind.
        cost: Seconds, bytes and details of preparing it.
        speed: Seconds and tokens of single requests, added tokens; empty where it cannot write.
        results: Task by task.
        refused: Tasks that the arm cannot do, with the reason.
    """

    key: str
    cell: Cell
    status: Literal["done", "refused", "failed"]
    message: str = ""
    kind: str = ""
    cost: Mapping[str, Any] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)
    results: Mapping[str, TaskResult] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the contents of the cell's file."""
        told = {**vars(self), "cell": asdict(self.cell)}
        told["results"] = {name: asdict(result) for name, result in self.results.items()}
        return told

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Record:
        """Read :meth:`to_json`'s value back.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is of another kind.
        """
        results = {
            name: TaskResult([Outcome(**each) for each in found["outcomes"]], found["notes"])
            for name, found in told["results"].items()
        }
        return cls(**{**told, "cell": Cell(**told["cell"]), "results": results})


class Results:
    """A comparison's folder.

    Args:
        folder: Made where it is missing.
        header: What all cells share.

    Raises:
        CompareError: The folder holds another comparison, or is damaged.
    """

    def __init__(self, folder: str | Path, header: Mapping[str, Any]) -> None:
        self.cells = CellFolder(
            folder, header, kind="comparison", version=FORMAT_VERSION, error=CompareError
        )
        self.folder = self.cells.folder

    def get(self, key: str) -> Record | None:
        """Return a cell's record, or None where it has not been run.

        Raises:
            CompareError: The file is damaged.
        """
        found = self.cells.read(key)
        if found is None:
            return None
        try:
            return Record.from_json(found)
        except (KeyError, TypeError, AttributeError) as error:
            raise self.cells.damaged(key, error) from None

    def put(self, record: Record) -> None:
        """Write a cell's record."""
        self.cells.write(record.key, record.to_json(), compact=True)


def by_arm(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the done records of each arm, in their order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.status == "done":
            found.setdefault(record.cell.arm, []).append(record)
    return found


def unasked(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return (arms, task and reason) of the tasks that arms could not be asked."""
    done = by_arm(records)
    found: dict[str, list[str]] = {}
    for arm, each in done.items():
        for record in each:
            for task, why in record.refused.items():
                arms = found.setdefault(f"{task}: {why}", [])
                if arm not in arms:
                    arms.append(arm)
    return [
        ("all arms" if len(arms) == len(done) else ", ".join(arms), why)
        for why, arms in found.items()
    ]


def judges_told(records: Sequence[Record]) -> list[str]:
    """Return a line on every judge of free text: its name and how far it can be trusted."""
    found: dict[str, dict[str, Sequence[float] | None]] = {}
    for record in records:
        result = record.results.get("free-text")
        judges = result.notes.get("judges", {}) if result else {}
        assert isinstance(judges, Mapping)
        for name, accuracy in judges.items():
            found.setdefault(name, {})[record.cell.contrast] = accuracy
    return [_judge(name, list(each.values())) for name, each in found.items()]


def _judge(name: str, accuracies: Sequence[Sequence[float] | None]) -> str:
    known = [each for each in accuracies if each is not None]
    if not known:
        return f"{name}: right by construction, or never measured"
    means, low = [each[0] for each in known], min(each[1] for each in known)
    return (
        f"{name}: cross-validated accuracy {min(means):.3f} to {max(means):.3f} over personas, "
        f"lowest end of an interval {low:.3f}"
    )


def unfinished(records: Sequence[Record]) -> list[tuple[str, str, str]]:
    """Return (arm, contrasts, why) of what was refused or failed, each reason once."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.status != "done":
            told = f"{record.status}: {record.message}"
            found.setdefault((record.cell.arm, told), []).append(record.cell.contrast)
    return [(arm, ", ".join(dict.fromkeys(who)), why) for (arm, why), who in found.items()]
