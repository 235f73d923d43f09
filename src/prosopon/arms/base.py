"""What an arm is: a way to make a model speak as a persona, and what that costs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from prosopon.data.contrast import Contrast
from prosopon.evaluation.speaking import Speaker
from prosopon.extraction import Extractor
from prosopon.registry import Registry, check_parts

Kind = Literal["base", "prompting", "training", "mask", "control"]


@dataclass(frozen=True)
class Lab:
    """What every arm works with: the same model, the same data.

    Attributes:
        extractor: On the model; holds model, tokenizer and general text.
        contrast: The contrast; only its ``calibration`` part may be used.
        examples: Calibration examples of each side.
        seed: Seeds the draw of examples and whatever the arm draws.
        options: Options of the arm, by name; values are text or of their type.
    """

    extractor: Extractor
    contrast: Contrast
    examples: int = 64
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> Any:
        """The model."""
        return self.extractor.model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self.extractor.tokenizer


@dataclass(frozen=True)
class Cost:
    """What having the arm costs, before anything is asked.

    Attributes:
        seconds: Of extraction, training or indexing.
        bytes: Of the persona on disk, beside the base model; 0 where there is nothing to keep.
        details: Whatever else is worth knowing: pruned share, trained parameters; JSON values.
    """

    seconds: float = 0.0
    bytes: int = 0
    details: Mapping[str, object] = field(default_factory=dict)


class Prepared(Protocol):
    """An arm that has learned its persona.

    Attributes:
        cost: What that cost.
    """

    @property
    def cost(self) -> Cost:
        """What learning the persona cost."""

    def speaking(self) -> AbstractContextManager[Speaker]:
        """Return a context in which the arm speaks.

        After it the model is as before, bit for bit, whatever happened inside.
        """


class Arm(Protocol):
    """An arm is one small file in this package, registered with :data:`ARMS`.

    Attributes:
        name: As in every output.
        summary: One line.
        kind: What kind of arm it is.
        options: Frozen dataclass of its options, with help in each field's metadata.
    """

    @property
    def name(self) -> str:
        """Name, as in every output."""

    @property
    def summary(self) -> str:
        """One line."""

    @property
    def kind(self) -> Kind:
        """What kind of arm it is."""

    @property
    def options(self) -> type:
        """Frozen dataclass of its options."""

    def parse(self, values: Mapping[str, Any]) -> Any:
        """Return the options for ``given``; strings are converted.

        Raises:
            OptionError: An option that the arm does not have, or a bad value.
        """

    def refuses(self, lab: Lab) -> str | None:
        """Return why the arm cannot be made here, or None."""

    def prepare(self, lab: Lab) -> Prepared:
        """Learn the persona from the calibration examples.

        Raises:
            ProsoponError: It cannot.
        """


class ArmRegistry(Registry[Arm]):
    """Arms by name, among them one for every name of other registries.

    What is registered there later is an arm here by itself.
    """

    def __init__(self) -> None:
        super().__init__("arm", check_parts("arm", "name", "kind", "options", "refuses", "prepare"))
        self._followed: list[tuple[Callable[[], Iterable[str]], Callable[[str], Arm]]] = []

    def follow(self, names: Callable[[], Iterable[str]], make: Callable[[str], Arm]) -> None:
        """Have an arm of ``make(name)`` for each of ``names()`` that is none yet."""
        self._followed.append((names, make))

    def get(self, name: str) -> Arm:
        """Return the arm of a name, one of another registry among them."""
        self._grow()
        return super().get(name)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self._grow()
        return super().names()

    def items(self) -> Iterator[tuple[str, Arm]]:
        """Iterate over (name, arm), sorted by name."""
        self._grow()
        return super().items()

    def __contains__(self, name: object) -> bool:
        self._grow()
        return super().__contains__(name)

    def __len__(self) -> int:
        self._grow()
        return super().__len__()

    def _grow(self) -> None:
        for names, make in self._followed:
            for name in names():
                if not super().__contains__(name):
                    self.add(name, make(name))


ARMS = ArmRegistry()
"""Every arm by name; criteria are arms too, see :mod:`prosopon.arms.masks`."""
