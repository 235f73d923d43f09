"""Registries: the places where people add criteria, arms, tasks, readers and patterns."""

import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from prosopon.errors import OptionError, UnknownNameError

T = TypeVar("T")


def normalise(name: str) -> str:
    """Return the registry form of a name: lower case, hyphens for underscores and spaces."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


class Entry(NamedTuple):
    """What was registered once: where, under which name, and by which module's own lines."""

    registry: "Registry[Any]"
    name: str
    module: str


class Registry(Generic[T]):
    """Named things of one kind; a duplicate raises, an unknown name lists the choices.

    Args:
        kind: What the things are called in messages, for instance ``"criterion"``.
        check: Called with (name, item) before an item is added; raises where it is unfit.

    Attributes:
        history: Whatever was added to any registry, in order; see :mod:`prosopon.plugins`.
    """

    history: ClassVar[list[Entry]] = []

    def __init__(self, kind: str, check: Callable[[str, T], None] | None = None) -> None:
        self.kind = kind
        self._check = check
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Register ``item`` and return it.

        Raises:
            ValueError: The name is taken.
            ProsoponError: The item is unfit; the registry's check says why.
        """
        key = normalise(name)
        if key in self._items:
            raise ValueError(f"{self.kind} {key!r} is registered twice")
        if self._check is not None:
            self._check(key, item)
        self._items[key] = item
        self.history.append(Entry(self, key, _running_module()))
        return item

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of :meth:`add`."""
        return lambda item: self.add(name, item)

    def get(self, name: str) -> T:
        """Return what is registered under ``name``.

        Raises:
            UnknownNameError: Nothing is; the message lists the choices.
        """
        try:
            return self._items[normalise(name)]
        except KeyError:
            raise UnknownNameError(self.kind, name, self._items) from None

    def remove(self, name: str) -> None:
        """Forget what is registered under ``name``.

        Raises:
            UnknownNameError: Nothing is; the message lists the choices.
        """
        self.get(name)
        del self._items[normalise(name)]

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._items)

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterate over (name, item), sorted by name."""
        return iter(sorted(self._items.items()))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and normalise(name) in self._items

    def __len__(self) -> int:
        return len(self._items)


def check_parts(kind: str, *parts: str) -> Callable[[str, Any], None]:
    """Return a registry's check: an item has these attributes and is no class.

    The check raises :class:`OptionError` and names what is missing.
    """

    def check(name: str, item: Any) -> None:
        if isinstance(item, type):
            raise OptionError(f"{kind} {name!r} is a class; add an instance of it")
        if missing := [part for part in parts if not hasattr(item, part)]:
            raise OptionError(f"{kind} {name!r} lacks {', '.join(missing)}")

    return check


def _running_module() -> str:
    """Return the module whose own lines are running: the nearest on the stack, or nothing."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back  # type: ignore[assignment]
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""
