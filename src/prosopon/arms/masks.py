"""Arms that wear a mask: every criterion is one, at its default sparsity, without a prompt."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.dose import Doses, dose_counter, general_rise
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Clock, Ready, speaker_of
from prosopon.criteria import CRITERIA, Criterion, LightCriterion
from prosopon.errors import OptionError
from prosopon.evaluation.speaking import Speaker
from prosopon.extraction.dial import MaskDial, mask_dial
from prosopon.extraction.light.mask import FEWEST, READ
from prosopon.extraction.request import Sparsity
from prosopon.options import option
from prosopon.subnetwork import Subnetwork

CONTROLS = ("random", "magnitude")  # criteria that know nothing of the persona


@dataclass(frozen=True)
class MaskReady(Ready):
    """An arm that wears a mask.

    Attributes:
        subnetwork: The mask.
    """

    subnetwork: Subnetwork


@dataclass(frozen=True)
class MaskSettings:
    """What every mask arm lets one choose, before the options of its criterion.

    Attributes:
        sparsity: Share of weights to prune, ``"auto"``, or None for the criterion's own.
        pattern: Selection pattern; None for the criterion's own.
        options: The criterion's options.
    """

    sparsity: Sparsity | None
    pattern: str | None
    options: Mapping[str, Any]


def mask_options(
    criterion: Criterion,
    default: str = "default",
    *,
    chosen: str | None = None,
    dosed: bool = False,
) -> type:
    """Return a dataclass of sparsity, pattern and a criterion's own options.

    Args:
        criterion: The criterion.
        default: Default sparsity.
        chosen: Default of one more option, ``criterion``, for arms that let it be chosen.
        dosed: Whether there is an option ``max_loss``, which light criteria have anyway.
    """
    words = Literal["default", "auto"]
    sparsity = option(default, "share of weights to prune, default or auto")
    pattern = option("default", "selection pattern")
    fields: list[Any] = [("sparsity", words | float, sparsity), ("pattern", str, pattern)]
    if chosen is not None:
        fields.append(("criterion", str, option(chosen, "whose masks")))
    if dosed and not isinstance(criterion, LightCriterion):
        limit = "nats a token that held-out general text may lose: the largest sparsity within it"
        fields.append(("max_loss", float, option(0.0, f"{limit} is taken; 0: sparsity stands")))
    own = criterion.options
    return dataclasses.make_dataclass(f"Mask{own.__name__}", fields, bases=(own,), frozen=True)


def settings_of(parsed: Any, criterion: Criterion) -> MaskSettings:
    """Return what an instance of :func:`mask_options` says."""
    own = {field.name for field in dataclasses.fields(criterion.options)}
    return MaskSettings(
        None if parsed.sparsity == "default" else parsed.sparsity,
        None if parsed.pattern == "default" else parsed.pattern,
        {name: getattr(parsed, name) for name in own},
    )


class MaskArm(WithOptions):
    """An arm that wears a criterion's mask and reads no prompt of its own.

    Args:
        criterion: The criterion's name.
        name: Name of the arm; default the criterion's.
        sparsity: Default sparsity: a number as text, ``auto`` or ``default``.
    """

    dosed = False

    def __init__(self, criterion: str, name: str | None = None, sparsity: str = "default") -> None:
        self.criterion = CRITERIA.get(criterion)
        self.name = name or self.criterion.name
        chosen = ", sparsity chosen on held-out examples" if sparsity == "auto" else ""
        self.summary = self.criterion.summary + chosen
        self.kind: Kind = "control" if self.name in CONTROLS else "mask"
        self.options = mask_options(self.criterion, sparsity, dosed=self.dosed)

    def refuses(self, lab: Lab) -> str | None:
        """Return why there are too few examples, or None."""
        if self.parse(lab.options).sparsity == "auto" and lab.examples < FEWEST:
            return f"sparsity 'auto' needs {FEWEST} calibration examples; there are {lab.examples}"
        return None

    def prepare(self, lab: Lab) -> MaskReady:
        """Learn the persona from the calibration examples.

        Raises:
            ProsoponError: See :meth:`prosopon.extraction.Extractor.extract`.
        """
        settings = settings_of(self.parse(lab.options), self.criterion)
        return extracted(lab, self.criterion, settings)


class DosedMaskArm(MaskArm):
    """A criterion's mask, which can be as strong as one likes: lambda or sparsity is its dial."""

    dosed = True

    def prepare(self, lab: Lab) -> MaskReady:
        """See :class:`MaskArm`; ``max_loss`` of a criterion that is not light sets its sparsity."""
        limit = self.parse(lab.options).max_loss
        if limit and not isinstance(self.criterion, LightCriterion):
            return self.dial(lab).within(limit)
        return super().prepare(lab)

    def dial(self, lab: Lab) -> "DosedMasks":
        """Read the examples once, for every dose; raises as :meth:`prepare` does."""
        settings = settings_of(self.parse(lab.options), self.criterion)
        if settings.sparsity == "auto":
            raise OptionError(f"arm {self.name!r} has no dose at sparsity 'auto': give a number")
        lab.extractor.prepare([self.criterion.name], search=False)
        clock = Clock()
        target, opposite = lab.contrast.drawn(lab.examples, lab.seed)
        light = isinstance(self.criterion, LightCriterion)
        dial = mask_dial(
            lab.extractor.without_statistics(lab.seed), target, opposite,
            criterion=self.criterion.name, sparsity=settings.sparsity if light else None,
            pattern=settings.pattern, options=settings.options,
        )  # fmt: skip
        return DosedMasks(lab, dial, clock.seconds())


class DosedMasks:
    """The masks of one extraction, worn at the strongest within a limit.

    Args:
        lab: The lab.
        dial: The masks.
        seconds: What reading the examples took.
    """

    def __init__(self, lab: Lab, dial: MaskDial, seconds: float) -> None:
        self._lab, self._dial, self._seconds = lab, dial, seconds
        self._doses: Doses | None = None

    def within(self, limit: float) -> MaskReady:
        """See :class:`prosopon.arms.dose.Dial`."""
        self._lab.extractor.held_out()  # shared by all arms
        clock, dial = Clock(), self._dial
        if self._doses is None:
            self._doses = Doses(
                general_rise(self._lab)(self._wear), start=dial.start, least=dial.least,
                most=dial.most, factor=dial.factor, report=dose_counter(self._lab),
            )  # fmt: skip
        dose, rise = self._doses.largest(limit)
        details = {"dose": dose, "general_loss": rise}
        searching = self._seconds + clock.seconds()
        return make_ready(self._lab, lambda: dial.find(dose), details, searching)

    def _wear(self, dose: float) -> AbstractContextManager[Any]:
        from prosopon.runtime import worn

        return worn(self._lab.model, self._lab.tokenizer, self._dial.find(dose))


def extracted(
    lab: Lab, criterion: Criterion, settings: MaskSettings, *, exchanged: bool = False
) -> MaskReady:
    """Extract a mask from the lab's examples and return the arm that wears it.

    Args:
        lab: The lab.
        criterion: The criterion.
        settings: Sparsity, pattern and options.
        exchanged: Find the opposite's mask instead of the target's.
    """
    shared = Clock()
    # What serves every persona is no persona's cost.
    lab.extractor.prepare([criterion.name], search=settings.sparsity == "auto")
    details = {"shared_seconds": round(shared.seconds(), 3)}
    target, opposite = lab.contrast.drawn(lab.examples, lab.seed)
    if exchanged:
        target, opposite = opposite, target
    # Its own statistics, so that an arm's seconds do not depend on which arms came before.
    extractor = lab.extractor.without_statistics(lab.seed)

    def find() -> Subnetwork:
        return extractor.extract(
            target, opposite, criterion=criterion.name, sparsity=settings.sparsity,
            pattern=settings.pattern, options=settings.options,
        )  # fmt: skip

    return make_ready(lab, find, details)


def make_ready(
    lab: Lab,
    find: Callable[[], Subnetwork],
    details: Mapping[str, object],
    seconds: float = 0.0,
) -> MaskReady:
    """Time the search for a mask, add what came before, and return the arm that wears it."""
    clock = Clock()
    subnetwork = find()
    cost = _cost(subnetwork, seconds + clock.seconds(), details)

    @contextmanager
    def enter() -> Iterator[Speaker]:
        from prosopon.runtime import worn

        with worn(lab.model, lab.tokenizer, subnetwork):
            yield speaker_of(lab)

    return MaskReady(cost, enter, subnetwork)


def _cost(subnetwork: Subnetwork, seconds: float, details: Mapping[str, object]) -> Cost:
    """Return the cost of a mask; its bytes are those of the files it is saved as."""
    with TemporaryDirectory() as folder:
        subnetwork.save_pretrained(folder)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    config = subnetwork.config
    counted = config.options.get("auto", {})
    facts = {
        "criterion": config.criterion,
        "pattern": config.pattern,
        "sparsity": config.sparsity,
        "pruned": subnetwork.pruned,
        "weights": subnetwork.total,
        "pruned_share": subnetwork.pruned_share,
        "options": dict(config.options),
        **{name: counted[name] for name in READ if name in counted},
    }
    return Cost(seconds, size, facts | dict(details))


ARMS.add(
    "contrastive-taylor-auto",
    MaskArm("contrastive-taylor", "contrastive-taylor-auto", sparsity="auto"),
)
ARMS.follow(CRITERIA.names, lambda name: (MaskArm if name in CONTROLS else DosedMaskArm)(name))
