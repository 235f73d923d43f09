"""What became of a cell, and what many of them say together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.plan import Cell


@dataclass(frozen=True)
class Record:
    """One arm's answers on one contrast.

    Attributes:
        key: Key of the cell.
        cell: The cell.
        status: ``done``; ``refused``: the arm has no meaning here; ``failed``.
        message: Why, unless it is done.
        kind: The arm's kind.
        label: The arm with the options that are not the default.
        opposite: What the contrast's target is told apart from.
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
    label: str = ""
    opposite: str = ""
    cost: Mapping[str, Any] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)
    results: Mapping[str, TaskResult] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tables call the arm."""
        return self.label or self.cell.arm

    def to_json(self) -> dict[str, Any]:
        """Return the contents of the cell's file."""
        results = {name: asdict(result) for name, result in self.results.items()}
        return {**vars(self), "cell": asdict(self.cell), "results": results}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Record":
        """Read :meth:`to_json`'s value back.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is of another kind.
        """
        results = {
            name: TaskResult([Outcome(**row) for row in result["outcomes"]], result["notes"])
            for name, result in value["results"].items()
        }
        return cls(**{**value, "cell": Cell(**value["cell"]), "results": results})


def by_arm(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the done records of each variant of an arm, in their order.

    The name of a variant is its label, with the number of examples where there are several.
    """
    done = [record for record in records if record.status == "done"]
    several = len({record.cell.examples for record in done} - {0}) > 1
    variants: dict[str, list[Record]] = {}
    for record in done:
        count = record.cell.examples
        size = f" n={count}" if several and count else ""
        variants.setdefault(f"{record.name}{size}", []).append(record)
    return variants


def unasked(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return (arms, task and reason) of the tasks that arms could not be asked."""
    done = by_arm(records)
    reasons: dict[str, list[str]] = {}
    for arm, rows in done.items():
        for record in rows:
            for task, why in record.refused.items():
                arms = reasons.setdefault(f"{task}: {why}", [])
                if arm not in arms:
                    arms.append(arm)
    return [
        ("all arms" if len(arms) == len(done) else ", ".join(arms), why)
        for why, arms in reasons.items()
    ]


def unfinished(records: Sequence[Record]) -> list[tuple[str, str, str]]:
    """Return (arm, contrasts, why) of what was refused or failed, each reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.status != "done":
            why = f"{record.status}: {record.message}"
            reasons.setdefault((record.name, why), []).append(record.cell.contrast)
    return [(arm, ", ".join(dict.fromkeys(who)), why) for (arm, why), who in reasons.items()]
