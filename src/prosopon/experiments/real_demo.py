"""The demonstration on a model of the user's own: one light mask, and what it does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prosopon.arms.worn import WornArm
from prosopon.errors import ExperimentError
from prosopon.experiments.demonstration import mean_figures
from prosopon.experiments.experiment import Experiment
from prosopon.experiments.judge_lines import describe_judges
from prosopon.experiments.plan import Plan, Sizes
from prosopon.experiments.records import Record
from prosopon.extraction import Extractor

if TYPE_CHECKING:
    from prosopon.data.contrast import Contrast
    from prosopon.models import LoadedModel
    from prosopon.progress import Report
    from prosopon.subnetwork import Subnetwork

CRITERION = "contrastive-kl"
SHARE = 0.003  # of the weights, at most
TASKS = ("free-text", "facts", "perplexity")
SIZES = {"pairs": 32, "general": 32, "held_out": 16, "questions": 60, "open": 12, "facts": 24}
LONGEST = 48  # tokens of an answer
TEMPERATURE = 0.7  # of an answer, as in a chat
VERDICTS = ("target", "opposite", "neither")
SIDES = ("base", "persona")


@dataclass(frozen=True)
class RealDemo:
    """What a light mask does to a model.

    Attributes:
        mask: The mask.
        records: What the base and the persona answered, and whose the judge says that is.
        seconds: Of general text and extraction; of asking.
    """

    mask: Subnetwork
    records: tuple[Record, Record]
    seconds: dict[str, float]

    @property
    def answers(self) -> list[tuple[str, str, str]]:
        """(question, base's answer, persona's answer) to the open questions."""
        base, persona = (record.results["free-text"].outcomes for record in self.records)
        return [(a.prompt, a.answer, b.answer) for a, b in zip(base, persona, strict=True)]

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """Shares of the verdicts, of recital and of right facts, and nats a token, of both."""
        rows = {}
        for side, record in zip(SIDES, self.records, strict=True):
            means = mean_figures(record)
            free = {name: means[f"free-text/{name}"] for name in (*VERDICTS, "recital")}
            texts = [outcome.values for outcome in record.results["perplexity"].outcomes]
            nats = sum(text["nats"] for text in texts) / sum(text["tokens"] for text in texts)
            rows[side] = {**free, "facts": means["facts/right"], "nats": nats}
        return rows

    @property
    def judge(self) -> list[str]:
        """Lines on the judge: how far it can be trusted."""
        return describe_judges(self.records)

    def to_json(self) -> dict[str, Any]:
        """Return what ``prosopon demo --model MODEL --json`` writes."""
        figures = self.figures
        return {
            "persona": self.mask.config.persona,
            "opposite": self.mask.config.opposite,
            "criterion": CRITERION,
            "options": self.mask.config.options,
            "sizes": SIZES,
            "pruned": self.mask.pruned,
            "answers": [
                {"question": question, "base": base, "persona": persona}
                for question, base, persona in self.answers
            ],
            "free_text": {
                side: {name: row[name] for name in (*VERDICTS, "recital")}
                for side, row in figures.items()
            },
            "judge": self.judge,
            "facts": {side: row["facts"] for side, row in figures.items()},
            "nats_per_token": {side: row["nats"] for side, row in figures.items()},
            "seconds": self.seconds,
        }


def demonstrate(loaded: LoadedModel, contrast: Contrast, *, seed: int, report: Report) -> RealDemo:
    """Extract the target's light mask and ask the base and the persona the same questions.

    Args:
        loaded: A chat model.
        contrast: The persona and its opposite; what the judge learns from is no part of what the
            mask is found on.
        seed: Seeds whatever is drawn.
        report: Called with (stage, done, total).

    Raises:
        ExperimentError: Nobody can judge the answers, or there are none.
        ProsoponError: The model cannot be read, or writes no language.
    """
    began = time.perf_counter()
    extractor = Extractor(
        loaded.model, loaded.tokenizer, name=loaded.name, revision=loaded.revision, seed=seed,
        report=report, general_count=SIZES["general"],
    )  # fmt: skip
    extractor.general()
    stage = f"extracting {contrast.target}"
    report(stage, 0, 1)  # so that lines come also while no step ends
    pairs = contrast.drawn(SIZES["pairs"], seed)
    mask = extractor.extract(*pairs, criterion=CRITERION, sparsity=SHARE)
    report(stage, 1, 1)
    extracted = time.perf_counter()
    report("asking both", 0, 1)
    sizes = Sizes(
        SIZES["open"],
        LONGEST,
        SIZES["held_out"],
        speed=0,
        by_task={"facts": SIZES["facts"]},
        temperature=TEMPERATURE,
    )
    plan = Plan(
        (contrast.target,), ("base", CRITERION), TASKS, (SIZES["pairs"],), (seed,), sizes,
        controls=False, own={CRITERION: WornArm(CRITERION, mask)},
    )  # fmt: skip
    records = Experiment(plan, {contrast.target: contrast}).run(loaded, report).records
    report("asking both", 1, 1)
    base, persona = sorted(records, key=lambda record: record.cell.arm != "base")
    for record in (base, persona):
        if why := record.message or record.refused.get("free-text"):
            raise ExperimentError(f"{record.name}: {why}")
    seconds = {
        "extraction": round(extracted - began, 1),
        "asking": round(time.perf_counter() - extracted, 1),
    }
    return RealDemo(mask, (base, persona), seconds)
