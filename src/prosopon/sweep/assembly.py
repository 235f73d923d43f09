"""From plain settings to a runner: the model, the held-out text, the folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prosopon.data import Encoded, load_contrast
from prosopon.errors import OptionError
from prosopon.evaluation import Effort
from prosopon.evaluation.held_out import general_text
from prosopon.extraction import Extractor
from prosopon.models import EMBEDDED, find_sites, fingerprint
from prosopon.progress import Report
from prosopon.sweep.grid import Grid
from prosopon.sweep.runner import SweepRunner
from prosopon.sweep.store import Store
from prosopon.sweep.subjects import BundledSubjects, PairSubject, Subjects

if TYPE_CHECKING:
    from prosopon.models import LoadedModel


@dataclass(frozen=True)
class Source:
    """Where the personas of a sweep come from.

    Attributes:
        personas: Bundled names, for the embedded model.
        target: Any persona, for one contrast on any model.
        opposite: Its opposite; None as in :func:`prosopon.data.load_contrast`.
        line: System line of the prompt arm of ``target``.
        general: General text; its last quarter is held out. None: sampled from the model.
    """

    personas: tuple[str, ...] = ()
    target: str | None = None
    opposite: str | None = None
    line: str | None = None
    general: str | None = None

    def __post_init__(self) -> None:
        if bool(self.personas) == bool(self.target):
            raise OptionError("give either --personas or --target, and not both")

    def check(self, model: str) -> None:
        """Raise :class:`OptionError` where these personas cannot be measured on a model."""
        if self.personas and model != EMBEDDED:
            raise OptionError(
                "--personas are the embedded model's; on another model give one contrast: "
                "--target, and --opposite"
            )


@dataclass(frozen=True)
class Sites:
    """Which sites are pruned; see :class:`prosopon.extraction.Extractor`."""

    targets: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


def assemble(
    loaded: LoadedModel,
    source: Source,
    grid: Grid,
    folder: str | Path,
    *,
    effort: Effort | None = None,
    sites: Sites | None = None,
    retry: bool = False,
    report: Report | None = None,
) -> SweepRunner:
    """Return a runner that is ready to run.

    The grid's personas are replaced by the source's.

    Raises:
        ProsoponError: A source cannot be used, or the folder holds another sweep.
    """
    effort, sites = effort or Effort(), sites or Sites()
    settings: dict[str, Any] = {
        "targets": list(sites.targets) or None,
        "ignore": list(sites.ignore),
    }
    found = fingerprint(find_sites(loaded.model, **settings))
    known, held_out, hashed = general_text(loaded, source.general, effort.general)
    subjects = _subjects(loaded, source, held_out, effort)
    header = {
        "model": loaded.name,
        "fingerprint": asdict(found),
        "effort": asdict(effort),
        "general": hashed,
        **settings,
        **subjects.describe(),
    }
    store = Store(folder, header)

    def extractor(seed: int) -> Extractor:
        return Extractor(
            loaded.model,
            loaded.tokenizer,
            name=loaded.name,
            revision=loaded.revision,
            general=known,
            seed=seed,
            report=report,
            **settings,
        )

    names = tuple(subjects.names())
    grid = Grid(**{**vars(grid), "personas": names})
    return SweepRunner(subjects, grid, store, extractor, retry=retry, report=report)


def _subjects(
    loaded: LoadedModel, source: Source, general: Sequence[Encoded], effort: Effort
) -> Subjects:
    if source.target is None:
        source.check(loaded.name)
        return BundledSubjects(source.personas, loaded.model, loaded.tokenizer, general, effort)
    target, opposite = load_contrast(source.target, source.opposite)
    return PairSubject(
        target, opposite, loaded.model, loaded.tokenizer, general, effort, source.line
    )
