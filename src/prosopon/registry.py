"""Registries: the places where people add criteria, readers and selection patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from prosopon.errors import UnknownNameError

T = TypeVar("T")


def normalise(name: str) -> str:
    """Return the registry form of a name: lower case, hyphens for underscores and spaces."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


class Registry(Generic[T]):
    """Named things of one kind; a duplicate raises, an unknown name lists the choices.

    Args:
        kind: What the things are called in messages, for instance ``"criterion"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Register ``item`` and return it.

        Raises:
            ValueError: The name is taken.
        """
        key = normalise(name)
        if key in self._items:
            raise ValueError(f"{self.kind} {key!r} is registered twice")
        self._items[key] = item
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
