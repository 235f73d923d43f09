"""What the judges of free text can be trusted with, and what could tell at all, in lines."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from prosopon.evaluation.tasks import Outcome
from prosopon.evaluation.tasks.free_text import kappas
from prosopon.experiments.records import Record

FREE_TEXT = "free-text"


def describe_questions(records: Sequence[Record]) -> list[str]:
    """Return a line on every contrast: how many questions can tell the two sides apart."""
    lines: dict[str, str] = {}
    for record in records:
        line = _notes(record).get("questions")
        if line is not None:
            lines[record.cell.contrast] = f"{record.cell.contrast}: {line}"
    return list(lines.values())


def describe_judges(records: Sequence[Record]) -> list[str]:
    """Return lines on every judge of free text: how far it can be trusted, with whom it agrees."""
    accuracies: dict[str, dict[str, Sequence[float] | None]] = {}
    checks: dict[str, dict[str, Mapping[str, Mapping[str, float]]]] = {}
    outcomes: list[Outcome] = []
    for record in records:
        notes, contrast = _notes(record), record.cell.contrast
        for name, accuracy in _mapping(notes.get("judges")).items():
            accuracies.setdefault(name, {})[contrast] = accuracy
        for name, check in _mapping(notes.get("judge-checks")).items():
            checks.setdefault(name, {})[contrast] = check
        if FREE_TEXT in record.results:
            outcomes += record.results[FREE_TEXT].outcomes
    lines = _cautions(checks)
    for name, rows in accuracies.items():
        lines.append(_describe_judge(name, list(rows.values())))
        lines += _describe_checks(name, list(checks.get(name, {}).values()))
    main = next(iter(accuracies), "")
    for name, kappa in kappas(outcomes).items():
        value = "none (one and the same verdict throughout)" if kappa is None else f"{kappa:.3f}"
        lines.append(
            f"{main} and {name} agree beyond chance on {len(outcomes)} answers of all arms: "
            f"Cohen's kappa {value}"
        )
    return lines


MOST_OF_NOBODY = 1 / 3
"""A judge that gives the persona more of nobody's texts than a draw among three verdicts would."""


def _cautions(checks: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> list[str]:
    """Return a line on every judge that sees a contrast's persona where there is none."""
    lines = []
    for name, contrasts in checks.items():
        for contrast, kinds in contrasts.items():
            seen = {
                kind: row["target"]
                for kind, row in kinds.items()
                if row.get("target", 0.0) > MOST_OF_NOBODY
            }
            if seen:
                shares = ", ".join(f"{share:.2f} of {kind}" for kind, share in seen.items())
                lines.append(
                    f"{contrast}: do not take its free text at its word. The judge {name} calls "
                    f"texts of nobody {contrast}, too ({shares}); read it beside the base's"
                )
    return lines


def _describe_judge(name: str, accuracies: Sequence[Sequence[float] | None]) -> str:
    measured = [row for row in accuracies if row is not None]
    if not measured:
        return f"{name}: right by construction, or never measured"
    if len(measured) == 1:
        mean, low, high = measured[0]
        return f"{name}: cross-validated accuracy {mean:.3f} [{low:.3f}, {high:.3f}]"
    means, low = [row[0] for row in measured], min(row[1] for row in measured)
    return (
        f"{name}: cross-validated accuracy {min(means):.3f} to {max(means):.3f} over personas, "
        f"lowest end of an interval {low:.3f}"
    )


def _describe_checks(name: str, checks: Sequence[Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Return a line a kind of texts, means over contrasts."""
    lines = []
    for kind in dict.fromkeys(kind for check in checks for kind in check):
        rows = [check[kind] for check in checks if kind in check]
        mean = {part: fmean(row[part] for row in rows) for part in rows[0]}
        count = sum(int(row["n"]) for row in rows)
        if "right" in mean:
            lines.append(
                f"{name} on {count} {kind} answers: right {mean['right']:.3f} "
                f"[{mean['low']:.3f}, {mean['high']:.3f}], neither {mean['neither']:.3f}"
            )
        else:
            lines.append(
                f"{name} on {count} texts of nobody ({kind}): neither {mean['neither']:.3f}, "
                f"target {mean['target']:.3f}, opposite {mean['opposite']:.3f}"
            )
    return lines


def _notes(record: Record) -> Mapping[str, object]:
    return record.results[FREE_TEXT].notes if FREE_TEXT in record.results else {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
