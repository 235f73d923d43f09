"""From plain settings to a runner: contrasts, judges, general text, and where results go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.data import Encoded, library, load_contrast
from prosopon.data.contrast import Contrast, bundled_contrast, file_contrast
from prosopon.errors import OptionError
from prosopon.evaluation.held_out import general_text
from prosopon.evaluation.tasks.free_text import FREE_TEXT
from prosopon.experiments.open_text import choose_bank, make_reader
from prosopon.experiments.plan import Plan
from prosopon.experiments.runner import Runner, calibration_room
from prosopon.experiments.store import Memory, Results
from prosopon.extraction import Extractor
from prosopon.judges import BaseReader, GrammarJudge, Judge, judges_of
from prosopon.models import EMBEDDED
from prosopon.progress import Report

if TYPE_CHECKING:
    from prosopon.models import LoadedModel

MakeJudges = Callable[[Contrast, BaseReader | None], Sequence[Judge]]
"""Makes judges of a contrast; the base model says what is language."""

UNJUDGED = {"choice", "a-b", "yes-no", "neutral", "perplexity", "cross-talk", "unseen", "facts"}
"""Tasks that no judge serves: for these alone none is trained."""


@dataclass(frozen=True)
class Source:
    """Where the contrasts come from.

    Attributes:
        personas: Bundled names: of the embedded model's personas, or on any other model of the
            library's.
        target: Any persona, for one contrast on any model.
        opposite: Its opposite; None as in :func:`prosopon.data.load_contrast`.
        line: System line of the prompt arm of ``target``.
        description: One line on the target.
        general: General text; its last quarter is held out. None: sampled from the model.
    """

    personas: tuple[str, ...] = ()
    target: str | None = None
    opposite: str | None = None
    line: str | None = None
    description: str = ""
    general: str | None = None

    def __post_init__(self) -> None:
        if bool(self.personas) == bool(self.target):
            raise OptionError("give either --personas or --target, and not both")

    def contrasts(self, model: str, questions: int) -> dict[str, Contrast]:
        """Return the contrasts by the target's name.

        Args:
            model: Name of the model.
            questions: Test questions of each.

        Raises:
            UnknownNameError: A persona that the library does not have, on another model than the
                embedded one.
            ProsoponError: A file cannot be used.
        """
        if model == EMBEDDED and self.personas:
            return {name: bundled_contrast(name, questions=questions) for name in self.personas}
        if self.target is None:
            names = [library.PREFIX + library.pole(name).name for name in self.personas]
            drawn = [self._contrast(name, None, questions) for name in names]
        elif model == EMBEDDED:
            drawn = [self._contrast(self.target, self.opposite, questions)]
        else:
            other = self.opposite and library.natural(self.opposite)
            drawn = [self._contrast(library.natural(self.target), other, questions)]
        return {contrast.target: contrast for contrast in drawn}

    def _contrast(self, source: str, other: str | None, questions: int) -> Contrast:
        target, opposite = load_contrast(source, other)
        pole = library.find(source)
        return file_contrast(
            target, opposite, line=self.line or (pole.prompt if pole else None),
            description=self.description, questions=questions,
        )  # fmt: skip


def grammar_judge(contrast: Contrast, reader: BaseReader | None = None) -> list[Judge]:
    """Return the grammar as a judge; where it cannot judge, a classifier."""
    if contrast.bundled:
        return [GrammarJudge(contrast.target, contrast.opposite)]
    return judges_of(contrast, reader=reader)


def trained_judges(contrast: Contrast, reader: BaseReader | None = None) -> list[Judge]:
    """Return the grammar where it can judge, and a classifier that is better than chance."""
    return judges_of(contrast, reader=reader)


@dataclass(frozen=True)
class Sites:
    """Which sites are pruned; see :class:`prosopon.extraction.Extractor`."""

    targets: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def settings(self) -> dict[str, list[str]]:
        """Return what an extractor takes; nothing where all sites are meant."""
        chosen = {"targets": list(self.targets), "ignore": list(self.ignore)}
        return {name: patterns for name, patterns in chosen.items() if patterns}


def assemble(
    loaded: "LoadedModel",
    plan: Plan,
    contrasts: Mapping[str, Contrast],
    folder: str | Path | None = None,
    *,
    general: str | None = None,
    judges: MakeJudges = trained_judges,
    open_questions: str | None = None,
    sites: Sites | None = None,
    retry: bool = False,
    report: Report | None = None,
) -> Runner:
    """Return a runner that is ready to run.

    Args:
        loaded: The model.
        plan: What to run.
        contrasts: By name.
        folder: Where results go; None keeps them in memory.
        general: General text, see :class:`Source`.
        judges: Makes the judges of a contrast.
        open_questions: See :func:`prosopon.experiments.open_text.choose_bank`.
        sites: Which sites masks may prune; default all.
        retry: Run cells again that failed before.
        report: Called with (stage, done, total).

    Raises:
        ProsoponError: A source cannot be used, or the folder holds another experiment.
    """
    settings: dict[str, Any] = dict((sites or Sites()).settings())
    texts, _, text_hash = general_text(loaded, general, 0)

    @cache
    def held_out() -> list[Encoded]:
        return general_text(loaded, general, plan.sizes.general, report)[1]

    def make_extractor(seed: int) -> Extractor:
        return Extractor(
            loaded.model, loaded.tokenizer, name=loaded.name, revision=loaded.revision,
            general=texts, seed=seed, report=report, **settings,
        )  # fmt: skip

    weight = next(loaded.model.parameters())
    header = {
        "model": loaded.name,
        "revision": loaded.revision,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "device": weight.device.type,
        "fingerprint": asdict(make_extractor(plan.seeds[0]).fingerprint),
        "general": text_hash,
        **settings,
    }
    # Before a judge keeps verdicts in the folder.
    store = Memory(header) if folder is None else Results(folder, header)
    readers, panels, banks = dict[str, BaseReader](), dict[str, Sequence[Judge]](), {}
    for name, contrast in contrasts.items():
        if set(plan.tasks) <= UNJUDGED:
            continue
        reader = make_reader(loaded, contrast, held_out, plan.sizes.max_new_tokens)
        panels[name] = judges(contrast, reader)
        exact = all(isinstance(judge, GrammarJudge) for judge in panels[name])
        if plan.sizes.general or not exact:
            readers[name] = reader
        free = any(task in FREE_TEXT for task in plan.tasks)
        bank = choose_bank(loaded, contrast, open_questions) if free else None
        if bank is not None:
            banks[name] = bank
    return Runner(
        plan, contrasts, panels, held_out, make_extractor, store, retry=retry, report=report,
        readers=readers, banks=banks,
    )  # fmt: skip


def shortfalls(plan: Plan, contrasts: Mapping[str, Contrast]) -> list[str]:
    """Return a line on every contrast that holds less than the plan asks for."""
    lines = []
    for name, contrast in contrasts.items():
        room, items = calibration_room(contrast), len(contrast.items())
        wanted = max(plan.sizes.of_task(task) for task in ("choice", "free-text"))
        short = [str(count) for count in plan.examples if count > room]
        if short:
            lines.append(
                f"{name}: {room} calibration examples of a side instead of {', '.join(short)}; "
                "there are no more beside those that are asked and those that teach the judge"
            )
        if items < wanted:
            lines.append(
                f"{name}: {items} different questions instead of {wanted}; "
                + (
                    "the grammar holds back no more"
                    if contrast.bundled
                    else "at most a quarter of the prompts is asked"
                )
            )
    return lines


def settings_of(runner: Runner) -> dict[str, Any]:
    """Return what a report says of how it was made."""
    return {
        **runner.store.header,
        "plan": runner.plan.to_json(),
        "contrasts": {
            name: {
                "opposite": contrast.opposite,
                "line": contrast.line,
                "calibration": [persona.content_hash() for persona in contrast.calibration],
                "test": [persona.content_hash() for persona in contrast.test],
            }
            for name, contrast in runner.contrasts.items()
        },
        "notes": shortfalls(runner.plan, runner.contrasts),
    }
