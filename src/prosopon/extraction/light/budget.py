"""A budget of loss: the least lambda whose mask costs general text no more than is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prosopon.data import Encoded
from prosopon.extraction.light.path import LightPath, Ranking
from prosopon.extraction.light.pruning import temporary_pruning
from prosopon.extraction.light.validation import mean_loss
from prosopon.models import Site

if TYPE_CHECKING:
    from torch import nn

FACTOR = 4.0  # between prices until a harmless and a harmful one enclose the limit
FEW = 32  # texts that are read between rounds; all are read for the last mask
TRIES = (5, 8)  # prices between rounds, and for the last mask
HIGHEST = 1e12  # lambda at which a mask is as good as empty


class Budget:
    """Sets a path's lambda by measuring what its mask costs text that it did not learn from.

    Args:
        model: A causal LM; its weights are as before after every call.
        sites: Its sites.
        texts: General texts held out, at least one.
        limit: Nats a token that they may lose.
        count: Most weights of a mask.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: Sequence[Site],
        texts: Sequence[Encoded],
        *,
        limit: float,
        count: int,
    ) -> None:
        self._model, self._sites, self._limit, self._count = model, sites, limit, count
        self._texts = {False: list(texts[:FEW]), True: list(texts)}
        self._base = {last: mean_loss(model, some) for last, some in self._texts.items()}

    def rise(self, ranking: Ranking, *, last: bool) -> float:
        """Return how much the loss of general text rises under a mask, nats a token."""
        with temporary_pruning(self._sites) as prune:
            prune(ranking.positions)
            loss = mean_loss(self._model, self._texts[last])
        return loss - self._base[last] if math.isfinite(loss) else math.inf

    def spend(self, path: LightPath, *, last: bool = False) -> tuple[Ranking, dict[str, Any]]:
        """Set the path's lambda to the least that is within the limit.

        Args:
            path: The path; its ``damage_weight`` is where the search begins.
            last: Read all texts, and look more closely.

        Returns:
            The mask, and what it cost.
        """
        harmful, harmless, tried = 0.0, math.inf, 0
        ranking, rise = path.ranking(0), 0.0
        price = path.damage_weight or 1.0
        while tried < TRIES[last] or (math.isinf(harmless) and price < HIGHEST):
            trial = path.ranking(self._count, price)
            cost, tried = self.rise(trial, last=last), tried + 1
            if cost <= self._limit:
                harmless, ranking, rise = price, trial, cost
            else:
                harmful = price
            if not harmful:
                price = harmless / FACTOR
            elif math.isinf(harmless):
                price = harmful * FACTOR
            else:
                price = math.sqrt(harmful * harmless)
        if math.isfinite(harmless):  # else weights without damage harm at any price: none goes
            path.damage_weight = harmless
        return ranking, {"damage": path.damage_weight, "general_loss": rise, "masks_tried": tried}
