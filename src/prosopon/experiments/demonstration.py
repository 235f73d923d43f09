"""The demonstration: six arms on the embedded model, as a plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from prosopon.experiments.plan import Plan, Sizes
from prosopon.experiments.records import Record

DEMO_ARMS = ("base", "prompt", "random", "wanda", "contrastive-wanda", "contrastive-taylor")
DEMO_TASKS = ("choice", "unseen", "free-text", "neutral")
SHOWN = DEMO_ARMS[-1]
"""The arm whose answers are shown."""

SIZES = {"calibration": 64, "choices": 100, "unseen": 30, "answers": 60, "neutral": 100}
"""How much is asked of every arm, by the names that the results have."""


def demo_plan(personas: Sequence[str], seed: int = 0) -> Plan:
    """Return the plan of the demonstration."""
    by_task = {"free-text": SIZES["answers"]} | {n: SIZES[n] for n in ("unseen", "neutral")}
    sizes = Sizes(SIZES["choices"], 48, general=0, speed=0, by_task=by_task)
    return Plan(
        tuple(personas), DEMO_ARMS, DEMO_TASKS, (SIZES["calibration"],), (seed,), sizes,
        controls=False,
    )  # fmt: skip


def mean_figures(record: Record) -> dict[str, float]:
    """Return the means over questions of a record that is done, as ``task/measure``."""
    figures: dict[str, list[float]] = {}
    for task, result in record.results.items():
        for outcome in result.outcomes:
            for measure, value in outcome.values.items():
                figures.setdefault(f"{task}/{measure}", []).append(value)
    return {name: fmean(values) for name, values in figures.items()}


@dataclass(frozen=True)
class DemoRow:
    """What one arm did with one persona.

    Attributes:
        arm: Name of the arm.
        persona: The target.
        figures: Means over questions, as ``task/measure``.
        neutral: How many neutral questions were asked.
        pruned_share: Share of the sites' weights pruned.
        seconds: Seconds of extraction, without what all personas share.
        shared_seconds: Seconds of what all personas share.
        answers: (question, answer) of the free answers, in their order.
    """

    arm: str
    persona: str
    figures: dict[str, float]
    neutral: int
    pruned_share: float
    seconds: float
    shared_seconds: float
    answers: tuple[tuple[str, str], ...]

    @classmethod
    def of_record(cls, record: Record) -> "DemoRow":
        """Return the row of a record that is done."""
        details, masked = record.cost["details"], record.kind in ("mask", "control")
        answers = record.results["free-text"].outcomes
        return cls(
            record.cell.arm,
            record.cell.contrast,
            mean_figures(record),
            len(record.results["neutral"].outcomes),
            float(details.get("pruned_share", 0.0)),
            float(record.cost["seconds"]) if masked else 0.0,
            float(details.get("shared_seconds", 0.0)),
            tuple((outcome.prompt, outcome.answer) for outcome in answers),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row of ``prosopon demo --json``."""
        figures = self.figures
        return {
            "arm": self.arm,
            "persona": self.persona,
            "choice_rate": figures["choice/per-token"],
            "choice_rate_per_byte": figures["choice/per-byte"],
            "choice_rate_summed": figures["choice/summed"],
            "choice_rate_unseen_values": figures["unseen/values"],
            "choice_rate_unseen_forms": figures["unseen/forms"],
            "free_text": {
                kind: figures[f"free-text/{kind}"] for kind in ("target", "opposite", "neither")
            },
            "neutral_accuracy": figures["neutral/right"],
            "pruned_share": self.pruned_share,
            "seconds": round(self.seconds, 3),
        }
