"""A budget of loss: the least lambda whose mask costs general text no more than is allowed."""

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

FACTOR = 2.0  # between prices until a harmless and a harmful one enclose the limit
TRIES = 5
NEAR = 0.9  # of the limit is near enough
CAUTION = 30.0  # times more than foreseen a first mask may cost
ENOUGH = 1.5  # times the limit may a round's mask cost
WORST = 100.0  # nats
FASTEST, POWER = 8.0, 0.6  # how fast what a mask may do to second order is changed
HIGHEST = 1e12  # lambda at which a mask is as good as empty


class Budget:
    """Sets a path's lambda so that its mask costs general text what is allowed.

    Between rounds the second-order damage says which lambda that is, corrected by what a mask
    really does to a few texts. The last mask is measured on text that it did not learn from.

    Args:
        model: A causal LM; its weights are as before after every call.
        sites: Its sites.
        texts: General texts held out, at least one.
        limit: Nats a token that they may lose.
        count: Most weights of a mask.

    Attributes:
        texts_read: Texts read forward so far.
    """

    def __init__(
        self,
        model: "nn.Module",
        sites: Sequence[Site],
        texts: Sequence[Encoded],
        *,
        limit: float,
        count: int,
    ) -> None:
        self._model, self._sites, self._limit, self._count = model, sites, limit, count
        self._texts, self._foreseen, self.texts_read = list(texts), limit / CAUTION, 0

    def rise(self, ranking: Ranking, base: float) -> float:
        """Return how much the loss of general text rises under a mask, nats a token."""
        self.texts_read += len(self._texts)
        with temporary_pruning(self._sites) as prune:
            prune(ranking.positions)
            loss = mean_loss(self._model, self._texts)
        return loss - base if math.isfinite(loss) else math.inf

    def step(self, path: LightPath) -> None:
        """Do one round of a path under a mask that should cost the limit, and costs little more.

        The second order alone foresees far too little of what a large mask does, and a round
        under such a mask would learn from a broken model.
        """
        enough = ENOUGH * self._limit
        for number in range(1, TRIES + 1):
            path.damage_weight = path.price(self._foreseen)
            mask = path.ranking(self._count)
            foreseen = path.damage(mask)
            last = number == TRIES or not foreseen
            trial = path.trial(mask, math.inf if last else enough)
            cost = trial.divergence
            cost = cost if cost < WORST else WORST  # NaN is not less than anything
            if not foreseen:
                break
            if path.lines is not None:
                foreseen = self._foreseen  # what the price was asked for; the lines hold a part
            # The cost grows faster than what is foreseen of it.
            change = (self._limit / max(cost, self._limit / FASTEST)) ** POWER
            self._foreseen = foreseen * change
            if trial.gradient is not None:
                break
        path.step(trial)

    def spend(self, path: LightPath) -> tuple[Ranking, dict[str, Any]]:
        """Set the path's lambda to the least whose mask is measured to be within the limit.

        Args:
            path: The path.

        Returns:
            The mask, and what it cost.
        """
        base = mean_loss(self._model, self._texts)
        self.texts_read += len(self._texts)
        low, high, tried = (0.0, math.inf), (math.inf, 0.0), 0  # (lambda, rise)
        best, price = path.ranking(0), path.price(self._foreseen) or 1.0
        while tried < TRIES or (math.isinf(high[0]) and price < HIGHEST):
            trial = path.ranking(self._count, price)
            rise, tried = self.rise(trial, base), tried + 1
            if rise <= self._limit:
                high, best = (price, rise), trial
                if rise >= NEAR * self._limit or price < 1 / HIGHEST:
                    break
            else:
                low = price, rise
            price = self._next(low, high)
        if math.isfinite(high[0]):  # else weights without damage harm at any price: none goes
            path.damage_weight = high[0]
        notes = {"damage": path.damage_weight, "general_loss": high[1], "masks_tried": tried}
        return best, notes

    def _next(self, low: tuple[float, float], high: tuple[float, float]) -> float:
        """Return the lambda to try between one that harms too much and one that does not."""
        if not low[0]:
            return high[0] / FACTOR
        if math.isinf(high[0]):
            return low[0] * FACTOR
        part = 0.5
        if 0 < high[1] < low[1] < math.inf:  # the rise as a power of lambda
            aim = math.sqrt(NEAR) * self._limit
            part = math.log(low[1] / aim) / math.log(low[1] / high[1])
        step = min(max(part, 0.2), 0.9)
        return math.exp(math.log(low[0]) + step * math.log(high[0] / low[0]))
