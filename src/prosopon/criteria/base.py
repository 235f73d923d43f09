"""What a criterion is: pure functions that say which weights a persona can do without.

Whatever the criterion, a mask never touches the output head (``lm_head``) or the embeddings.

There are three kinds, and one registry for all of them:

- :class:`ScoredCriterion`: ``score(inputs, options)`` gives every weight of a site a number; the
  highest are kept.
- :class:`SolvedCriterion`: ``solve(inputs, pattern, options)`` chooses a site's mask itself.
- :class:`LightCriterion`: ``gain`` and ``damage`` say what the removal of a weight brings and
  costs; a light mask is grown round by round from the weights where it pays.

To add one, write a file that ends with ``CRITERIA.add("own", ScoredCriterion(...))``; the command
line reads everything from there (docs/examples/own_criterion.py and own_light_criterion.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import torch

from prosopon.errors import OptionError
from prosopon.options import NoOptions, parse_options
from prosopon.registry import Registry
from prosopon.statistics import ChannelStatistics, GramStatistics

if TYPE_CHECKING:
    from torch import Tensor

Need = Literal["target", "opposite", "general", "generator"]
Side = Literal["target", "opposite", "general"]


@dataclass(frozen=True)
class SiteInputs:
    """What a criterion may look at, for one site.

    Attributes:
        weight: The base weight, canonical ``[out, in]``, float32.
        target: Channel statistics over the target's examples.
        opposite: Channel statistics over the opposite's examples.
        general: Channel statistics over general text.
        gram: Gram matrix of the site's input over the target's examples.
        sparsity: The share asked for, for criteria that depend on it.
        generator: Seeded for this site alone.
    """

    weight: Tensor
    target: ChannelStatistics | None = None
    opposite: ChannelStatistics | None = None
    general: ChannelStatistics | None = None
    gram: GramStatistics | None = None
    sparsity: float | None = None
    generator: torch.Generator | None = None

    def activations(self, side: Side = "target") -> ChannelStatistics:
        """Return one side's statistics.

        Raises:
            OptionError: They are not there: the criterion does not say that it needs them.
        """
        statistics: ChannelStatistics | None = getattr(self, side)
        if statistics is None:
            what = "general text" if side == "general" else f"the {side}"
            raise OptionError(f"this criterion needs statistics of {what}")
        return statistics

    def channel(self, values: Tensor) -> Tensor:
        """Return per-channel float64 ``values`` as float32 beside the weight, ``[1, in]``."""
        return values.to(device=self.weight.device, dtype=torch.float32).unsqueeze(0)


@dataclass(frozen=True)
class Solution:
    """What a criterion that chooses its own mask returns for one site.

    Attributes:
        keep: Bool ``[out, in]``, True where the weight is kept.
        values: The weights as they should be to make up for the pruned ones, ``[out, in]``,
            float32, zero where pruned; None where the kept weights stay as they are.
    """

    keep: Tensor
    values: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What every registered criterion says of itself; one of the three kinds adds the rest.

    ``Criterion(score=...)`` makes a :class:`ScoredCriterion`.

    Attributes:
        name: Registry name.
        summary: One line for ``prosopon criteria``.
        source: Paper and equation, or the design note.
        options: Frozen dataclass of options, with help in each field's metadata.
        pattern: Default selection pattern.
        sparsity: Default share of weights pruned.
        check: Raises :class:`OptionError` for ``(pattern, sparsity, options)`` that have no
            meaning together, and says why.
    """

    name: str
    summary: str
    source: str
    options: type = NoOptions
    pattern: str = "row"
    sparsity: float = 0.3
    check: Callable[[str, float, Any], None] | None = None

    def __new__(cls, **_fields: Any) -> Self:
        """Make a scored criterion where only the general name is given."""
        return object.__new__(ScoredCriterion if cls is Criterion else cls)  # type: ignore[return-value]

    @property
    def contrastive(self) -> bool:
        """Whether it needs an opposite."""
        return False

    def parse_options(self, values: Mapping[str, Any]) -> Any:
        """Return the options dataclass for ``values`` (strings are converted).

        Raises:
            OptionError: An option that this criterion does not have, or a bad value.
        """
        return parse_options(f"criterion {self.name!r}", self.options, values)


@dataclass(frozen=True, kw_only=True)
class ScoredCriterion(Criterion):
    """A criterion that scores every weight.

    Attributes:
        score: Pure function to scores ``[out, in]``, float32; the highest are kept. Under a
            ``cap``, a score of plus infinity means: never prune.
        needs: What :class:`SiteInputs` must hold.
        ties: Pure function to a second score that orders weights with equal scores, or to None
            where position alone does.
        general_option: Name of the option that weighs general text; at 0 none is needed.
        cap: Whether the sparsity is the most that is pruned rather than what is pruned.
    """

    score: Callable[[SiteInputs, Any], Tensor]
    needs: frozenset[Need] = frozenset()
    ties: Callable[[SiteInputs, Any], Tensor | None] | None = None
    general_option: str | None = None
    cap: bool = False

    @property
    def contrastive(self) -> bool:
        """Whether it needs an opposite."""
        return "opposite" in self.needs

    def needs_with(self, options: Any) -> frozenset[Need]:
        """Return what is needed with these options."""
        if self.general_option is not None and not getattr(options, self.general_option):
            return self.needs - {"general"}
        return self.needs


@dataclass(frozen=True, kw_only=True)
class SolvedCriterion(Criterion):
    """A criterion whose mask is no selection over scores.

    Attributes:
        solve: Pure function ``(inputs, pattern, options)`` to a site's mask. ``inputs`` holds
            the weight, the Gram matrix over the target's examples, and the sparsity.
    """

    solve: Callable[[SiteInputs, str, Any], Solution]


CRITERIA: Registry[Criterion] = Registry("criterion", lambda name, item: _check(name, item))
"""Every criterion by name."""


def _check(name: str, criterion: Criterion) -> None:
    if not isinstance(criterion, Criterion) or type(criterion) is Criterion:
        raise OptionError(
            f"criterion {name!r} is a {type(criterion).__name__}; add a ScoredCriterion, "
            "SolvedCriterion or LightCriterion"
        )
