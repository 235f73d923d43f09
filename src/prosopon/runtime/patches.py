"""Patches: what to write to go from one look to another, kept for the next time."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from prosopon.runtime.homes import Flat
from prosopon.runtime.looks import Look


class Step(NamedTuple):
    """The writes into one site.

    Attributes:
        home: Number of the site.
        flat: Its memory.
        fresh: Whether the site is on the base before, so that ``before`` are its originals.
        offsets: Places in its memory, ascending.
        before: What lies there before, as integers.
        after: What is to lie there.
    """

    home: int
    flat: Flat
    fresh: bool
    offsets: Flat
    before: Flat
    after: Flat

    @property
    def nbytes(self) -> int:
        """Memory that the step takes."""
        return int(self.offsets.nbytes + self.before.nbytes + self.after.nbytes)


class Patch(NamedTuple):
    """The steps from one look to another.

    Attributes:
        steps: One for every site where weights change.
        homes: Numbers of those sites.
    """

    steps: list[Step]
    homes: frozenset[int]


class PatchCache:
    """Patches by (from, to), the least recently used forgotten first.

    Args:
        limit: Most memory they may take, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.nbytes = limit, 0
        self._pairs: OrderedDict[tuple[Look, Look], tuple[Patch, int]] = OrderedDict()

    def get(self, start: Look, goal: Look) -> Patch | None:
        """Return a patch if it is there."""
        entry = self._pairs.get((start, goal))
        if entry is None:
            return None
        self._pairs.move_to_end((start, goal))
        return entry[0]

    def put(self, start: Look, goal: Look, steps: list[Step], back: list[Step]) -> None:
        """Keep a patch and its way back, which shares its memory, unless they are too large."""
        size = sum(step.nbytes for step in steps)
        if size > self.limit:
            return
        homes = frozenset(step.home for step in steps)
        for key, way in (((start, goal), steps), ((goal, start), back)):
            self._remove(key)
            self._pairs[key] = Patch(way, homes), size
        self.nbytes += size
        while self.nbytes > self.limit:
            self._remove(next(iter(self._pairs)))

    def drop(self, name: str) -> None:
        """Forget the patches that involve a persona."""
        for key in list(self._pairs):
            if any(part.name == name for look in key for part in look):
                self._remove(key)

    def clear(self) -> None:
        """Forget everything."""
        self._pairs.clear()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._pairs)

    def _remove(self, key: tuple[Look, Look]) -> None:
        """Forget a patch and its way back."""
        entry = self._pairs.pop(key, None)
        if entry is not None:
            self._pairs.pop((key[1], key[0]), None)
            self.nbytes -= entry[1]
