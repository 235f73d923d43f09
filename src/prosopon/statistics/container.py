"""Sums over examples for the inputs of all sites: one container for every kind of sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from torch import Tensor

from prosopon.errors import StatisticsError


class Sums(Protocol):
    """Sums over tokens of one input: a monoid, so that two halves add up to the whole."""

    @property
    def tokens(self) -> int:
        """How many tokens were counted."""

    @classmethod
    def zero(cls, channels: int) -> Self:
        """Return the neutral element."""

    @classmethod
    def of_batch(cls, values: Tensor, mask: Tensor) -> Self:
        """Return the sums of one batch, ``[rows, length, channels]``, where the mask holds."""

    def __add__(self, other: Self) -> Self:
        """Return the sums of both sets of tokens together."""

    def absorb(self, other: Self) -> Self:
        """Do the same in place: this object's tensors become the sums."""

    @property
    def is_finite(self) -> bool:
        """Whether no sum is NaN or infinite."""


S = TypeVar("S", bound=Sums)


@dataclass(frozen=True)
class SiteSums(Generic[S]):
    """Sums of every site for one set of examples.

    Sites that read the same input share one entry: ``groups`` maps a site's name to the name of
    the first site with that input, and ``sums`` holds one entry for each of those.

    Attributes:
        sums: Sums by group name.
        groups: Group name by site name, in model order.
        scope: ``"response"`` or ``"all"``: which tokens were counted.
        fingerprint: Fingerprint of the sites' weights (hexadecimal).
        sources: Content hashes of the sets of examples counted, sorted.
    """

    sums: Mapping[str, S]
    groups: Mapping[str, str]
    scope: str
    fingerprint: str
    sources: tuple[str, ...] = ()

    def __getitem__(self, site: str) -> S:
        """Return the sums of a site's input.

        Raises:
            StatisticsError: The site was not collected.
        """
        if site not in self.groups:
            raise StatisticsError(
                f"no statistics for site {site!r}: they were collected for {len(self.groups)} "
                "other sites; collect again with the same --targets and --ignore"
            )
        return self.sums[self.groups[site]]

    def __add__(self, other: Self) -> Self:
        """Merge the sums of two sets of examples on the same model.

        Raises:
            StatisticsError: Model, scope or sites differ.
        """
        for what in ("fingerprint", "scope", "groups"):
            if getattr(self, what) != getattr(other, what):
                raise StatisticsError(f"cannot merge statistics: their {what} differs")
        merged = {name: sums + other.sums[name] for name, sums in self.sums.items()}
        sources = tuple(sorted(self.sources + other.sources))
        return type(self)(merged, self.groups, self.scope, self.fingerprint, sources)
