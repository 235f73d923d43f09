"""Sums over examples for the inputs of all sites: one container for every kind of sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import torch

from prosopon import ranks
from prosopon.errors import StatisticsError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """Sums over tokens of one input: a monoid, so that two halves add up to the whole.

    All tensors are float64 and on the CPU.
    """

    title: ClassVar[str]

    tokens: int  # number of tokens counted

    @classmethod
    def zero(cls, channels: int) -> Self:
        """Return the neutral element for ``channels`` input channels."""
        raise NotImplementedError

    @classmethod
    def of_batch(cls, values: Tensor, mask: Tensor) -> Self:
        """Return the sums of one batch.

        Args:
            values: Inputs of a site, any floating dtype, ``[rows, length, channels]``.
            mask: The tokens in scope, bool, ``[rows, length]``; at least one in every row.
        """
        raise NotImplementedError

    def __add__(self, other: Self) -> Self:
        """Merge: the sums of both sets of tokens; other widths are a StatisticsError."""
        return self._merge(other, torch.add)

    def absorb(self, other: Self) -> Self:
        """Do the same in place: this object's tensors become the sums, and the result holds them.

        For accumulators. Small lasting tensors made in the middle of a forward pass would lie
        between its large ones and keep the C library from giving their memory back.
        """
        return self._merge(other, torch.Tensor.add_)

    def _merge(self, other: Self, add: Callable[[Tensor, Tensor], Tensor]) -> Self:
        if self.channels != other.channels:
            raise StatisticsError(
                f"cannot merge {self.title} of {self.channels} and of {other.channels} channels"
            )
        merged: dict[str, Any] = {}
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            merged[field.name] = (
                add(ours, theirs) if isinstance(ours, torch.Tensor) else ours + theirs
            )
        return replace(self, **merged)

    def over_ranks(self) -> Self:
        """Return the sums over all processes of a run under torchrun; this object's are used up."""
        ranks.add_up(*self.tensors)
        counts = {
            field.name: int(ranks.total(value))
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), int)
        }
        return replace(self, **counts)

    @property
    def tensors(self) -> list[Tensor]:
        """The sums, in the order of the fields."""
        values = [getattr(self, field.name) for field in fields(self)]
        return [value for value in values if isinstance(value, torch.Tensor)]

    @property
    def is_empty(self) -> bool:
        """Whether no token was counted: none came to an expert."""
        return not self.tokens

    @property
    def is_finite(self) -> bool:
        """Whether no sum is NaN or infinite."""
        return all(bool(torch.isfinite(tensor).all()) for tensor in self.tensors)

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return len(self.tensors[0])


S = TypeVar("S", bound=Sums)


@dataclass(frozen=True)
class SiteSums(Generic[S]):
    """Sums of every site for one set of examples.

    Sites that read the same input share one entry: ``groups`` maps a site's name to the name of
    the first site with that input, and ``sums`` holds one entry for each of those.
    """

    sums: Mapping[str, S]  # sums by group name
    groups: Mapping[str, str]  # group name by site name, in model order
    scope: str  # ``"response"`` or ``"all"``: which tokens were counted
    fingerprint: str  # fingerprint of the sites' weights (hexadecimal)
    sources: tuple[str, ...] = ()  # content hashes of the sets of examples counted, sorted

    def __getitem__(self, site: str) -> S:
        """Return the sums of a site's input; a StatisticsError if it was not collected."""
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
