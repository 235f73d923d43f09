"""From plain settings to a runner: model, contrasts, judges, held-out text, folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.data import load_contrast, load_persona
from prosopon.data.contrast import Contrast, bundled_contrast, file_contrast
from prosopon.errors import OptionError
from prosopon.evaluation.held_out import general_text
from prosopon.experiments.plan import Plan, Sizes
from prosopon.experiments.records import Results
from prosopon.experiments.runner import CompareRunner
from prosopon.extraction import Extractor
from prosopon.judges import Judge, judges_of
from prosopon.models import EMBEDDED
from prosopon.progress import Report

if TYPE_CHECKING:
    from prosopon.models import LoadedModel


@dataclass(frozen=True)
class Source:
    """Where the contrasts come from.

    Attributes:
        personas: Bundled names, for the embedded model.
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

    def contrasts(self, model: str, sizes: Sizes) -> dict[str, Contrast]:
        """Return the contrasts by the target's name.

        Raises:
            OptionError: Bundled personas on another model.
            ProsoponError: A file cannot be used.
        """
        if self.target is not None:
            target, opposite = load_contrast(self.target, self.opposite)
            made = file_contrast(
                target, opposite, line=self.line, description=self.description,
                questions=sizes.questions,
            )  # fmt: skip
            return {made.target: made}
        if model != EMBEDDED:
            raise OptionError(
                "--personas are the embedded model's; on another model give one contrast: "
                "--target, and --opposite"
            )
        names = [load_persona(name, limit=1).name for name in self.personas]
        return {name: bundled_contrast(name, questions=sizes.questions) for name in names}


def assemble(
    loaded: LoadedModel,
    source: Source,
    plan: Plan,
    folder: str | Path,
    *,
    contrasts: Mapping[str, Contrast] | None = None,
    extra_judges: Callable[[Contrast], Sequence[Judge]] | None = None,
    retry: bool = False,
    report: Report | None = None,
) -> CompareRunner:
    """Return a runner that is ready to run.

    Args:
        loaded: The model.
        source: Where the contrasts come from.
        plan: What to run; its contrasts are the source's names.
        folder: Where results go.
        contrasts: The source's contrasts, where they are made already.
        extra_judges: Makes judges besides the grammar and the classifier.
        retry: Run cells again that failed before.
        report: Called with (stage, done, total).

    Raises:
        ProsoponError: A source cannot be used, or the folder holds another comparison.
    """
    made = dict(contrasts or source.contrasts(loaded.name, plan.sizes))
    known, held_out, told = general_text(loaded, source.general, plan.sizes.general)
    extractor = Extractor(
        loaded.model, loaded.tokenizer, name=loaded.name, revision=loaded.revision, general=known,
        seed=plan.seeds[0], report=report,
    )  # fmt: skip
    header = {
        "model": loaded.name,
        "fingerprint": asdict(extractor.fingerprint),
        "general": told,
    }
    results = Results(folder, header)  # before a judge keeps verdicts in the folder
    extra = extra_judges or (lambda contrast: ())
    own_texts = loaded.tokenizer.batch_decode(
        [text.input_ids for text in held_out], skip_special_tokens=True
    )
    judges = {
        name: judges_of(contrast, extra(contrast), own_texts=own_texts)
        for name, contrast in made.items()
    }
    return CompareRunner(
        plan, made, judges, held_out, extractor, results,
        retry=retry, report=report,
    )  # fmt: skip


def settings_of(runner: CompareRunner) -> dict[str, Any]:
    """Return what a report says of how it was made."""
    return {
        **runner.results.cells.header,
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
    }
