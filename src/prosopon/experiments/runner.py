"""Running the cells of a comparison that have not been run yet."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from prosopon.arms import ARMS, Lab, Prepared
from prosopon.arms.speed import measure_speed
from prosopon.data import Encoded
from prosopon.data.contrast import Contrast
from prosopon.errors import ModelError, ProsoponError
from prosopon.evaluation.speaking import Speaker
from prosopon.evaluation.tasks import TASKS, Setting, TaskResult
from prosopon.evaluation.tasks.free_text import open_prompts
from prosopon.experiments.cells import content_key
from prosopon.experiments.plan import Cell, Plan
from prosopon.experiments.records import Record, Results
from prosopon.extraction import Extractor
from prosopon.judges import Judge, LLMJudge
from prosopon.lm.answers import score_answers
from prosopon.progress import Report
from prosopon.subnetwork import Subnetwork
from prosopon.version import __version__

STAGE = "arms of the comparison"


class CompareRunner:
    """Runs a plan into a folder. Stopped at any moment, it goes on where it was.

    Args:
        plan: What to run.
        contrasts: By name.
        judges: Judges of free text by contrast; the first is the main one.
        general: Held-out general texts.
        extractor: On the model; shared by all arms and contrasts.
        results: Where they go.
        retry: Run cells again that failed before.
        report: Called with (stage, done, total).
    """

    def __init__(
        self,
        plan: Plan,
        contrasts: Mapping[str, Contrast],
        judges: Mapping[str, Sequence[Judge]],
        general: Sequence[Encoded],
        extractor: Extractor,
        results: Results,
        *,
        retry: bool = False,
        report: Report | None = None,
    ) -> None:
        self.plan, self.contrasts, self.judges = plan, contrasts, judges
        self.general, self.extractor, self.results = general, extractor, results
        self.retry, self.report = retry, report

    def run(self) -> Iterator[Record]:
        """Yield the record of every cell: those of earlier runs as they are, the rest anew."""
        cells = list(self.plan.cells())
        for number, cell in enumerate(cells):
            self._say(number, len(cells))
            yield self._record(cell)
        self._say(len(cells), len(cells))

    def masks(self, arm: str) -> dict[str, Subnetwork]:
        """Return the masks that an arm wears, of the first seed, by contrast.

        They are kept in the folder as the arm is prepared; one that is not there is found again.
        Contrasts on which the arm was refused or failed have none.

        Raises:
            ProsoponError: It cannot be found.
        """
        found = {}
        for cell in self.plan.cells():
            if cell.arm != arm or cell.seed != self.plan.seeds[0]:
                continue
            record, folder = self.results.get(self.key(cell)), self._mask_folder(cell)
            if record is None or record.status != "done":
                continue
            if not folder.exists():
                self._prepared(cell)
            if folder.exists():
                found[cell.contrast] = Subnetwork.from_pretrained(folder)
        return found

    def _prepared(self, cell: Cell) -> Prepared:
        """Prepare an arm, and keep the mask where it is one."""
        arm, contrast = ARMS.get(cell.arm), self.contrasts[cell.contrast]
        sizes = self.plan.sizes
        lab = Lab(self.extractor, contrast, sizes.examples, cell.seed, dict(cell.options))
        prepared = arm.prepare(lab)
        mask = getattr(prepared, "subnetwork", None)
        folder = self._mask_folder(cell)
        if mask is not None and not folder.exists():
            mask.save_pretrained(folder)
        return prepared

    def _mask_folder(self, cell: Cell) -> Path:
        return self.results.folder / "masks" / f"{cell.contrast}-{self.key(cell)}"

    def key(self, cell: Cell) -> str:
        """Return the key of a cell: it, the model, the data, what is asked, and our version."""
        contrast = self.contrasts[cell.contrast]
        parts = (*contrast.calibration, *contrast.judge, *contrast.test)
        context = {
            "header": self.results.cells.header,
            "data": [persona.content_hash() for persona in parts],
            "line": contrast.line,
            "tasks": list(self.plan.tasks),
            "sizes": dataclasses.asdict(self.plan.sizes),
            "judges": [_identity(judge) for judge in self.judges[cell.contrast]],
            "version": __version__,
        }
        return content_key({"cell": dataclasses.asdict(cell), "context": context})

    def _record(self, cell: Cell) -> Record:
        key = self.key(cell)
        found = self.results.get(key)
        if found is not None and not (self.retry and found.status == "failed"):
            return found
        record = Record(key, cell, "done", kind=ARMS.get(cell.arm).kind)
        try:
            record = self._asked(record)
        except ProsoponError as error:
            told = " ".join(str(error).split())
            record = dataclasses.replace(record, status="failed", message=told)
        self.results.put(record)
        return record

    def _asked(self, record: Record) -> Record:
        cell, sizes = record.cell, self.plan.sizes
        arm, contrast = ARMS.get(cell.arm), self.contrasts[cell.contrast]
        lab = Lab(self.extractor, contrast, sizes.examples, cell.seed, dict(cell.options))
        why = arm.refuses(lab)
        if why is not None:
            return dataclasses.replace(record, status="refused", message=why)
        setting = Setting(
            contrast, self.judges[cell.contrast], self.general, questions=sizes.questions,
            examples=sizes.examples,
            max_new_tokens=sizes.max_new_tokens, seed=cell.seed,
        )  # fmt: skip
        prepared = self._prepared(cell)
        with prepared.speaking() as speaker:
            results, refused = ask(speaker, setting, self.plan.tasks)
            speed = self._speed(speaker, setting) if speaker.writes else {}
        if "free-text" in results:
            results["free-text"] = self._read(results["free-text"], setting)
        cost = dataclasses.asdict(prepared.cost)
        return dataclasses.replace(
            record, cost=_plain(cost), speed=speed, results=results, refused=refused
        )

    def _speed(self, speaker: Speaker, setting: Setting) -> dict[str, float]:
        prompts = [prompt for _, prompt in open_prompts(setting)]
        added = speaker.added_tokens(prompts)
        found = {"added_tokens": sum(added) / len(added)}
        count = self.plan.sizes.speed
        if count:
            speed = measure_speed(
                speaker, self.extractor.tokenizer, prompts[:count],
                max_new_tokens=setting.max_new_tokens,
            )  # fmt: skip
            found |= dataclasses.asdict(speed)
        return found

    def _read(self, result: TaskResult, setting: Setting) -> TaskResult:
        """Add what the base model makes of every free answer: nats and tokens."""
        asked = islice(cycle(open_prompts(setting)), len(result.outcomes))
        pairs = [
            (prompt, outcome.answer)
            for (_, prompt), outcome in zip(asked, result.outcomes, strict=True)
        ]
        told = [pair for pair in pairs if pair[1].strip()]
        scores = iter(
            score_answers(
                self.extractor.model, self.extractor.tokenizer, told, max_tokens=2048,
                max_length=self.extractor.max_length,
            )
        )  # fmt: skip
        outcomes = []
        for outcome in result.outcomes:
            values = dict(outcome.values)
            if outcome.answer.strip():
                score = next(scores)
                values |= {"base-nats": -score.total, "base-tokens": float(score.tokens)}
            outcomes.append(dataclasses.replace(outcome, values=values))
        return dataclasses.replace(result, outcomes=outcomes)

    def _say(self, done: int, total: int) -> None:
        if self.report is not None:
            self.report(STAGE, done, total)


def ask(
    speaker: Speaker, setting: Setting, tasks: Sequence[str]
) -> tuple[dict[str, TaskResult], dict[str, str]]:
    """Return the tasks' results, and the reasons of those that cannot be asked here.

    Raises:
        ModelError: The speaker computes no numbers, or a measure is none.
    """
    if speaker.writes:
        # Before anything is sampled: a draw from NaN is a library's error and not ours.
        for nats, _ in speaker.losses(setting.general[:1]):
            if not math.isfinite(nats):
                raise ModelError("the model computes NaN or infinity under this arm")
    results, refused = dict[str, TaskResult](), dict[str, str]()
    for name in tasks:
        task = TASKS.get(name)
        why = task.refuses(setting, writes=speaker.writes)
        if why is None:
            results[name] = _finite(task.run(speaker, setting), name)
        else:
            refused[name] = why
    return results, refused


def _finite(result: TaskResult, task: str) -> TaskResult:
    for outcome in result.outcomes:
        for measure, value in outcome.values.items():
            if not math.isfinite(value):
                raise ModelError(
                    f"task {task!r}: {measure} of question {outcome.question!r} is {value}: the "
                    "model computes no numbers under this arm"
                )
    return result


def _identity(judge: Judge) -> str:
    """Return what a cell's key says of a judge: an LLM's verdicts are those of one model."""
    if isinstance(judge, LLMJudge):
        return "\n".join((judge.name, judge.endpoint.model, judge.target, judge.opposite))
    return judge.name


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; what it cannot is written as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    return str(value)
