"""What was worked out for some looks, kept for the next time as far as memory allows."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from prosopon.runtime.looks import Look

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LookCache(Generic[K, V]):
    """Values by key, the least recently used forgotten first.

    Args:
        limit: Most memory that they may take, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.nbytes = limit, 0
        self._entries: OrderedDict[K, tuple[V, int, frozenset[str]]] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return a value if it is there."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: K, value: V, nbytes: int, looks: tuple[Look, ...]) -> None:
        """Keep a value that is made for some looks, unless it is too large."""
        self._remove(key)
        if nbytes > self.limit:
            return
        names = frozenset(part.name for look in looks for part in look)
        self._entries[key] = value, nbytes, names
        self.nbytes += nbytes
        while self.nbytes > self.limit:
            self._remove(next(iter(self._entries)))

    def drop(self, name: str) -> None:
        """Forget what involves a persona."""
        for key in [key for key, (_, _, names) in self._entries.items() if name in names]:
            self._remove(key)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.nbytes = 0

    def _remove(self, key: K) -> None:
        if key in self._entries:
            self.nbytes -= self._entries.pop(key)[1]
