"""Light masks: a few more weights a round, each round judged on the masked model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prosopon.criteria import Criterion, SiteInputs
from prosopon.data import Encoded
from prosopon.models import Site
from prosopon.statistics import Objective, objective_gradients, pair_log_odds

Report = Callable[[str, int, int], None]
Chosen = dict[str, tuple[Tensor, Tensor]]


@dataclass
class Rounds:
    """What the rounds did.

    Attributes:
        keep: Keep-mask of every site, bool ``[out, in]``, on the CPU.
        losses: The objective before each round.
    """

    keep: dict[str, Tensor]
    losses: list[float] = field(default_factory=list)


def prune_in_rounds(
    model: nn.Module,
    sites: Sequence[Site],
    criterion: Criterion,
    options: Any,
    pairs: Sequence[tuple[Encoded, Encoded]],
    general: Sequence[Encoded],
    fisher: Mapping[str, Tensor],
    budget: int,
    report: Report | None = None,
) -> Rounds:
    """Prune at most ``budget`` weights in ``options.rounds`` equal rounds.

    Every round takes gradients on the masked model, adds every weight's score (with its original
    value) to the sum of its earlier scores, and masks the weights with the lowest sums below
    zero, ``budget / rounds`` more of them than before. A weight whose removal turned out to hurt
    comes back. One round is plain one-shot selection. The model's weights come back bit for bit,
    also after an exception.

    Args:
        model: A causal LM.
        sites: Its sites.
        criterion: A criterion that reads gradients.
        options: Its options; ``rounds``, ``beta``, ``general`` and ``odds`` are read here.
        pairs: (target, opposite) encoded examples.
        general: Encoded general texts.
        fisher: Fisher diagonal of every site on the base model.
        budget: Most weights to prune over all sites.
        report: Called with (stage, rounds done, rounds).
    """
    objective = Objective(options.beta, options.general, options.odds)
    result = Rounds({s.name: torch.ones(s.shape, dtype=torch.bool) for s in sites})
    reference = pair_log_odds(model, pairs)
    totals: dict[str, Tensor] = {}
    chosen: Chosen = {}
    for number in range(1, options.rounds + 1):
        with temporary_pruning(sites) as prune:
            for site in sites if chosen else ():
                prune(site, *chosen[site.name])
            gradients, loss = objective_gradients(
                model, sites, pairs, general, objective, reference=reference
            )
        result.losses.append(loss)
        for site in sites:
            score = _score(criterion, options, site, gradients, fisher)
            previous = totals.get(site.name)
            totals[site.name] = score if previous is None else previous + score
        chosen = lowest(totals, budget * number // options.rounds)
        if report is not None:
            report("pruning", number, options.rounds)
    for name, (rows, columns) in chosen.items():
        result.keep[name][rows.cpu(), columns.cpu()] = False
    return result


def lowest(scores: Mapping[str, Tensor], count: int) -> Chosen:
    """Return (rows, columns) per site of the ``count`` lowest scores below zero.

    Fewer where fewer are below zero. Equal scores: earlier site, then row, then column first.
    """
    flat = torch.cat([score.reshape(-1).cpu() for score in scores.values()])
    below = (flat < 0).nonzero().squeeze(1)
    order = flat[below].sort(stable=True).indices[: max(count, 0)]
    picked = below[order].sort().values
    chosen, start = {}, 0
    for name, score in scores.items():
        inside = picked[(picked >= start) & (picked < start + score.numel())] - start
        width = score.shape[1]
        chosen[name] = (
            (inside // width).to(score.device),
            (inside % width).to(score.device),
        )
        start += score.numel()
    return chosen


@contextmanager
def temporary_pruning(sites: Sequence[Site]) -> Iterator[Callable[[Site, Tensor, Tensor], None]]:
    """Yield ``prune(site, rows, columns)``; every weight it set to zero is put back on exit."""
    journal: list[tuple[Site, Tensor, Tensor, Tensor]] = []

    def prune(site: Site, rows: Tensor, columns: Tensor) -> None:
        matrix = site.matrix()
        # The originals are kept before the write, so that no interruption can lose them.
        journal.append((site, rows, columns, matrix[rows, columns].clone()))
        matrix[rows, columns] = 0

    try:
        yield prune
    finally:
        for site, rows, columns, values in reversed(journal):
            site.matrix()[rows, columns] = values


def _score(
    criterion: Criterion,
    options: Any,
    site: Site,
    gradients: Mapping[str, Tensor],
    fisher: Mapping[str, Tensor],
) -> Tensor:
    inputs = SiteInputs(
        weight=site.matrix().float(),
        gradient=gradients[site.name],
        fisher=fisher.get(site.name),
    )
    scores: Tensor = criterion.score(inputs, options)
    return scores
