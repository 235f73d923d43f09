"""Running the cells of a plan that have not been run yet."""

import dataclasses
import math
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from prosopon.arms import Lab, Prepared
from prosopon.arms.dose import Dial, Dialable
from prosopon.arms.speed import measure_speed
from prosopon.data import Encoded
from prosopon.data.banks import Bank
from prosopon.data.contrast import Contrast
from prosopon.errors import ModelError, ProsoponError
from prosopon.evaluation.speaking import OptionQuestion, Speaker
from prosopon.evaluation.tasks import TASKS, JudgedTask, Setting, TaskResult
from prosopon.evaluation.tasks.free_text import FREE_TEXT, open_prompt
from prosopon.experiments.open_text import OpenText
from prosopon.experiments.plan import Cell, Plan, Sizes
from prosopon.experiments.records import Record
from prosopon.experiments.store import Memory, content_key
from prosopon.extraction import Extractor
from prosopon.files import sha256_file
from prosopon.judges import BaseReader, GatedJudge, Judge, LLMJudge
from prosopon.progress import Report
from prosopon.subnetwork import Subnetwork
from prosopon.version import __version__

STAGE = "arms of the experiment"
NO_GENERAL = {"choice", "a-b", "yes-no", "unseen", "neutral", "cross-talk", "facts", *FREE_TEXT,
              "drift", "role-play", "questionnaire"}  # fmt: skip
"""Tasks that read no general text: for these alone none is written."""


class Runner:
    """Runs a plan into a store. Stopped at any moment, it goes on where it was.

    Args:
        plan: What to run.
        contrasts: By name.
        judges: Judges of free text by contrast; the first is the main one.
        general: Gives the held-out general texts; called if something reads them.
        extractor: Makes the extractor of a seed; called once a seed, if a cell is to be run.
        store: Where the records go.
        retry: Run cells again that failed before.
        report: Called with (stage, done, total).
        readers: The base model by contrast, where it reads free text.
        banks: Open questions besides the contrasts' own.
    """

    def __init__(
        self,
        plan: Plan,
        contrasts: Mapping[str, Contrast],
        judges: Mapping[str, Sequence[Judge]],
        general: Callable[[], Sequence[Encoded]],
        extractor: Callable[[int], Extractor],
        store: Memory,
        *,
        retry: bool = False,
        report: Report | None = None,
        readers: Mapping[str, BaseReader] | None = None,
        banks: Mapping[str, Bank] | None = None,
    ) -> None:
        self.plan, self.contrasts, self.judges = plan, contrasts, judges
        self._open_texts = {
            name: OpenText(
                contrast, judges.get(name, ()), (readers or {}).get(name),
                (banks or {}).get(name), plan.sizes.of_task("free-text"),
            )
            for name, contrast in contrasts.items()
        }  # fmt: skip
        self.general, self.store = general, store
        self.retry, self.report = retry, report
        self._make_extractor = extractor
        self._extractor: tuple[int, Extractor] | None = None
        self._dial: tuple[Cell, Dial] | None = None
        self._data_hashes = {
            name: [
                persona.content_hash()
                for persona in (*contrast.calibration, *contrast.judge, *contrast.test)
            ]
            for name, contrast in contrasts.items()
        }

    def cells(self) -> list[Cell]:
        """Return all cells; none has more calibration examples than its contrast holds."""
        rooms = {name: calibration_room(contrast) for name, contrast in self.contrasts.items()}
        return list(self.plan.cells(rooms))

    def open_text(self, contrast: str) -> OpenText:
        """Return what a contrast is asked freely, and who judges it."""
        return self._open_texts[contrast]

    def run(self) -> Iterator[Record]:
        """Yield the record of every cell: those of earlier runs as they are, the rest anew."""
        cells = self.cells()
        for number, cell in enumerate(cells):
            self._report(number, len(cells))
            yield self._record(cell)
        self._report(len(cells), len(cells))

    def masks(self, arm: str, among: Collection[str] | None = None) -> dict[str, Subnetwork]:
        """Return the masks that an arm wears, of the first seed and its first variant, by contrast.

        They are kept as the arm is prepared; one that is not there is found again. Contrasts on
        which the arm was refused or failed have none.

        Args:
            arm: The arm.
            among: Contrasts to look at; None for all.

        Raises:
            ProsoponError: It cannot be found.
        """
        masks: dict[str, Subnetwork] = {}
        for cell in self.cells():
            if cell.arm != arm or cell.seed != self.plan.seeds[0] or cell.contrast in masks:
                continue
            if among is not None and cell.contrast not in among:
                continue
            record, name = self.store.get(self.key(cell)), self._mask_name(cell)
            if record is None or record.status != "done":
                continue
            mask = self.store.mask(name)
            if mask is None:
                self._prepare(cell)
                mask = self.store.mask(name)
            if mask is not None:
                masks[cell.contrast] = mask
        return masks

    def extractor(self, seed: int) -> Extractor:
        """Return the extractor of a seed, which all its cells share."""
        if self._extractor is None or self._extractor[0] != seed:
            self._extractor = seed, self._make_extractor(seed)
        return self._extractor[1]

    def key(self, cell: Cell) -> str:
        """Return the key of a cell: it and everything that its answers depend on."""
        contrast = self.contrasts[cell.contrast]
        context: dict[str, Any] = {
            "header": self.store.header,
            "data": self._data_hashes[cell.contrast],
            "line": contrast.line,
            "description": contrast.description,
            "tasks": list(self.plan.tasks),
            "sizes": dataclasses.asdict(self.plan.sizes),
            "judges": [_judge_identity(judge) for judge in self.judges.get(cell.contrast, ())],
            "open questions": self._open_texts[cell.contrast].bank_questions,
            "files": plugin_files(self.plan.arm(cell.arm), *map(TASKS.get, self.plan.tasks)),
            "version": __version__,
        }
        own = dataclasses.asdict(cell)
        if not cell.at_loss:
            del own["at_loss"]  # as before there were levels
        if self.plan.sizes.temperature == 1:
            del context["sizes"]["temperature"]  # and temperatures
        return content_key({"cell": own, "context": context})

    def _mask_name(self, cell: Cell) -> str:
        return f"{cell.contrast}-{self.key(cell)}"

    def _lab(self, cell: Cell) -> Lab:
        contrast, extractor = self.contrasts[cell.contrast], self.extractor(cell.seed)
        return Lab(extractor, contrast, self._examples(cell), cell.seed, dict(cell.options))

    def _examples(self, cell: Cell) -> int:
        """Return the calibration examples of a side, as other arms have where it needs none."""
        room = calibration_room(self.contrasts[cell.contrast])
        return cell.examples or min(max(self.plan.examples), room)

    def _prepare(self, cell: Cell) -> Prepared:
        """Prepare an arm, and keep the mask where it is one."""
        if cell.at_loss:
            prepared = self._dial_of(cell).within(cell.at_loss)
        else:
            prepared = self.plan.arm(cell.arm).prepare(self._lab(cell))
        mask = getattr(prepared, "subnetwork", None)
        if mask is not None:
            self.store.put_mask(self._mask_name(cell), mask)
        return prepared

    def _dial_of(self, cell: Cell) -> Dial:
        """Return what an arm has learned; cells that differ in their level alone share it."""
        shared = dataclasses.replace(cell, at_loss=0.0)
        if self._dial is None or self._dial[0] != shared:
            self._dial = None  # its memory, before more is taken
            arm = self.plan.arm(cell.arm)
            assert isinstance(arm, Dialable)
            self._dial = shared, arm.dial(self._lab(cell))
        return self._dial[1]

    def _record(self, cell: Cell) -> Record:
        key = self.key(cell)
        earlier = self.store.get(key)
        if earlier is not None and not (self.retry and earlier.status == "failed"):
            return earlier
        record = Record(
            key, cell, "done", kind=self.plan.arm(cell.arm).kind, label=self.plan.label(cell),
            opposite=self.contrasts[cell.contrast].opposite,
        )  # fmt: skip
        stage = f"{record.name} on {cell.contrast}, seed {cell.seed}"
        try:
            self._report(0, 1, stage)  # open until the end, so that its name stands in every line
            record = self._ask(record)
        except ProsoponError as error:
            reason = " ".join(str(error).split())
            record = dataclasses.replace(record, status="failed", message=reason)
        self._report(1, 1, stage)
        self.store.put(record)
        return record

    def _ask(self, record: Record) -> Record:
        cell, sizes = record.cell, self.plan.sizes
        why = self.plan.arm(cell.arm).refuses(self._lab(cell))
        if why is not None:
            return dataclasses.replace(record, status="refused", message=why)
        open_text = self._open_texts[cell.contrast]
        free = any(task in FREE_TEXT for task in self.plan.tasks) and bool(open_text.judges)
        general = () if set(self.plan.tasks) <= NO_GENERAL else self.general()
        setting = Setting(
            self.contrasts[cell.contrast], open_text.judges, general, open_text.reader,
            open_text.prompts if free else None, sizes.questions, self._examples(cell),
            sizes.max_new_tokens, cell.seed, sizes.temperature,
        )  # fmt: skip
        prepared = self._prepare(cell)
        with prepared.speaking() as speaker:
            pending, refused = ask(speaker, setting, self.plan.tasks, sizes)
            speed = self._speed(speaker, setting) if speaker.writes else {}
        results = {name: _check_finite(judge(), name) for name, judge in pending.items()}
        for name in FREE_TEXT.keys() & results:
            notes = {**results[name].notes, **open_text.notes}
            results[name] = dataclasses.replace(results[name], notes=notes)
        cost = _plain(dataclasses.asdict(prepared.cost))
        return dataclasses.replace(record, cost=cost, speed=speed, results=results, refused=refused)

    def _speed(self, speaker: Speaker, setting: Setting) -> dict[str, float]:
        prompts = [open_prompt(item)[1] for item in setting.contrast.items()]
        added = speaker.added_tokens(prompts)
        figures = {"added_tokens": sum(added) / len(added)}
        count = self.plan.sizes.speed
        if count:
            speed = measure_speed(
                speaker, self.extractor(setting.seed).tokenizer, prompts[:count],
                max_new_tokens=setting.max_new_tokens,
            )  # fmt: skip
            figures |= dataclasses.asdict(speed)
        return figures

    def _report(self, done: int, total: int, stage: str = STAGE) -> None:
        if self.report is not None:
            self.report(stage, done, total)


def calibration_room(contrast: Contrast) -> int:
    """Return how many calibration examples both sides have."""
    return min(len(side) for side in contrast.calibration)


def ask(
    speaker: Speaker, setting: Setting, tasks: Sequence[str], sizes: Sizes
) -> tuple[dict[str, Callable[[], TaskResult]], dict[str, str]]:
    """Ask all tasks; return what gives their results, and why others cannot be asked here.

    Call the first when the arm is gone: what was answered is judged then, and read by the base.

    Raises:
        ModelError: The speaker computes no numbers, or a measure is none.
    """
    # Before anything is sampled: a draw from NaN is a library's error and not ours.
    if speaker.writes and not all(map(math.isfinite, _sample_numbers(speaker, setting))):
        raise ModelError("the model computes NaN or infinity under this arm")
    pending, refused = dict[str, Callable[[], TaskResult]](), dict[str, str]()
    for name in tasks:
        task, own = TASKS.get(name), dataclasses.replace(setting, questions=sizes.of_task(name))
        why = task.refuses(own, writes=speaker.writes)
        if why is not None:
            refused[name] = why
        elif isinstance(task, JudgedTask):
            pending[name] = partial(task.judge, task.ask(speaker, own), own)
        else:
            result = _check_finite(task.run(speaker, own), name)
            pending[name] = partial(_same, result)
    return pending, refused


def _same(result: TaskResult) -> TaskResult:
    return result


def _sample_numbers(speaker: Speaker, setting: Setting) -> list[float]:
    """Return a few numbers that the speaker computes: of a general text, or of a question."""
    if setting.general:
        return [nats for nats, _ in speaker.losses(setting.general[:1])]
    item = setting.contrast.items(1)[0]
    return [*speaker.score([OptionQuestion(item.prompt, item.answers, False)])[0].by["summed"]]


def plugin_files(*things: object) -> list[str]:
    """Return the hashes of the files outside prosopon that arms, criteria and tasks come from."""
    modules: dict[str, None] = {}
    for thing in things:
        parts = [thing, getattr(thing, "criterion", None), getattr(thing, "options", None)]
        classes = [part if isinstance(part, type) else type(part) for part in parts]
        modules |= dict.fromkeys(base.__module__ for own in classes for base in own.__mro__)
        values = vars(parts[1]).values() if hasattr(parts[1], "__dict__") else ()
        modules |= dict.fromkeys(str(getattr(value, "__module__", "")) for value in values)
    own_files = (
        getattr(sys.modules.get(name), "__file__", None)
        for name in modules
        if name.split(".")[0] not in sys.stdlib_module_names | {"prosopon", ""}
    )
    return sorted({sha256_file(path) for path in own_files if path})


def _check_finite(result: TaskResult, task: str) -> TaskResult:
    for outcome in result.outcomes:
        for measure, value in outcome.values.items():
            if not math.isfinite(value):
                raise ModelError(
                    f"task {task!r}: {measure} of question {outcome.question!r} is {value}: the "
                    "model computes no numbers under this arm"
                )
    return result


def _judge_identity(judge: Judge) -> str:
    """Return what a cell's key says of a judge: an LLM's verdicts are those of one model."""
    if isinstance(judge, GatedJudge):
        return _judge_identity(judge.judge)
    if isinstance(judge, LLMJudge):
        return "\n".join((judge.name, judge.endpoint.model, judge.target, judge.opposite))
    return judge.name


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; what it cannot is written as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)
