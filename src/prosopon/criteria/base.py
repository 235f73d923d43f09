"""What a criterion is: a pure function from a site's weight and statistics to scores.

To add one, write a file with a frozen dataclass of options and a function
``score(inputs, options) -> Tensor`` and register a :class:`Criterion` in ``CRITERIA``; the
command line, its help and ``prosopon criteria`` read everything from there. A criterion whose
mask is no selection over scores (SparseGPT's, which changes weights as it goes) gives ``solve``
as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from prosopon.errors import OptionError
from prosopon.options import NoOptions, parse_options
from prosopon.registry import Registry
from prosopon.statistics import ChannelStatistics, GramStatistics

Need = Literal["target", "opposite", "general", "gram", "gradient", "fisher", "generator"]
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
        sparsity: The share asked for, for scores that depend on it.
        gradient: dL/dW of the persona objective, ``[out, in]``, float32.
        fisher: Diagonal Fisher per token on general text, ``[out, in]``, float32.
        generator: Seeded for this site alone.
    """

    weight: Tensor
    target: ChannelStatistics | None = None
    opposite: ChannelStatistics | None = None
    general: ChannelStatistics | None = None
    gram: GramStatistics | None = None
    sparsity: float | None = None
    gradient: Tensor | None = None
    fisher: Tensor | None = None
    generator: torch.Generator | None = None

    def activations(self, side: Side = "target") -> ChannelStatistics:
        """Return one side's statistics.

        Raises:
            OptionError: They were not given.
        """
        found: ChannelStatistics | None = getattr(self, side)
        if found is None:
            what = "general text" if side == "general" else f"the {side}"
            raise OptionError(f"this criterion needs statistics of {what}")
        return found

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


@dataclass(frozen=True)
class Criterion:
    """A registered criterion.

    Attributes:
        name: Registry name.
        summary: One line for ``prosopon criteria``.
        source: Paper and equation, or the design note.
        score: Pure function to scores ``[out, in]``, float32; the highest are kept. Under a
            ``cap``, a score of plus infinity means: never prune.
        needs: What :class:`SiteInputs` must hold.
        options: Frozen dataclass of options, with help in each field's metadata.
        ties: Pure function to a second score that orders weights with equal scores.
        pattern: Default selection pattern.
        sparsity: Default share of weights pruned.
        general_option: Name of the option that weighs general text; at 0 none is needed.
        cap: Whether the sparsity is the most that is pruned rather than what is pruned.
        solve: Pure function ``(inputs, pattern, options)`` to a mask, for a criterion whose
            mask is no selection over scores; ``inputs.sparsity`` is given. ``score`` then is
            what it starts from.
        check: Raises :class:`OptionError` for ``(pattern, sparsity, options)`` that have no
            meaning together, and says why.
    """

    name: str
    summary: str
    source: str
    score: Callable[[SiteInputs, Any], Tensor]
    needs: frozenset[Need] = frozenset()
    options: type = NoOptions
    ties: Callable[[SiteInputs, Any], Tensor] | None = None
    pattern: str = "row"
    sparsity: float = 0.3
    general_option: str | None = None
    cap: bool = False
    solve: Callable[[SiteInputs, str, Any], Solution] | None = None
    check: Callable[[str, float, Any], None] | None = None

    @property
    def contrastive(self) -> bool:
        """Whether it needs an opposite."""
        return bool({"opposite", "gradient"} & self.needs)

    def needs_with(self, options: Any) -> frozenset[Need]:
        """Return what is needed with these options."""
        if self.general_option is not None and not getattr(options, self.general_option):
            return self.needs - {"general"}
        return self.needs

    def parse_options(self, given: Mapping[str, Any]) -> Any:
        """Return the options dataclass for ``given`` (strings are converted).

        Raises:
            OptionError: An option that this criterion does not have, or a bad value.
        """
        return parse_options(f"criterion {self.name!r}", self.options, given)


CRITERIA: Registry[Criterion] = Registry("criterion")
