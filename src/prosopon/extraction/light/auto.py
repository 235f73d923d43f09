"""``--sparsity auto``: one path, many masks looked at, the strongest that does no harm kept.

The sums of gains do not depend on lambda, so every checkpoint of a single path gives masks of any
price for a few forward passes: the price is moved until general text is just within tolerance.
The best masks of several degrees of harm write free text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from prosopon.extraction.light.path import LightPath, Ranking
from prosopon.extraction.light.validation import ForwardMeasure, TextMeasure, Validation

CHECKPOINTS = 8
TRIES = 5  # prices of damage at a checkpoint
LAST_TRIES = 8  # and at the end of a path that learned from free text
STEP = 3.0  # factor between prices until harmless and harmful ones enclose the tolerance
HARMS = (1 / 8, 1 / 4, 1 / 2, 1.0)  # shares of what is tolerated: the best mask of each writes
REPETITION = 0.05  # more repetition than the base model's by this is harm


@dataclass(frozen=True)
class TriedMask:
    """A mask that was looked at.

    Attributes:
        rounds: Rounds of the path when it was made.
        damage: Its lambda.
        ranking: The mask.
        quick: What forward passes say of it.
    """

    rounds: int
    damage: float
    ranking: Ranking
    quick: ForwardMeasure


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        ranking: The mask.
        report: How it was chosen, for the provenance: JSON.
    """

    ranking: Ranking
    report: dict[str, Any]


@dataclass(frozen=True)
class Aim:
    """How masks are compared on the way of a path and at its end.

    Attributes:
        leads: The path goes on with the lambda of the harmless mask where this is least.
        writes: Of each degree of harm the mask where this is least writes free text.
        strength: How much of the persona free text shows, and its standard error.
        patience: Checkpoints with harmless masks but no lower loss before the path ends; None
            for a path that goes to its end, where masks of its last state are looked for.
    """

    leads: Callable[[TriedMask], float]
    writes: Callable[[TriedMask], float]
    strength: Callable[[TextMeasure], tuple[float, float]]
    patience: int | None


def _loss(trial: TriedMask) -> float:
    return trial.quick.loss


def _price(trial: TriedMask) -> float:
    return trial.damage


def _harm(trial: TriedMask) -> float:
    return trial.quick.perplexity_ratio


def _share(free: TextMeasure) -> tuple[float, float]:
    return free.share, free.error


def _probability(free: TextMeasure) -> tuple[float, float]:
    return free.probability, free.probability_error


HELD_OUT_PAIRS = Aim(_loss, _loss, _share, patience=2)
FREE_TEXT = Aim(_price, _price, _probability, patience=None)


def choose(
    path: LightPath,
    validation: Validation,
    *,
    largest: int,
    rounds: int,
    tolerance: float,
    report: Callable[[int, int], None] | None = None,
) -> Choice:
    """Grow a path and choose budget, rounds and lambda on held-out material.

    Where the path learns from free text, held-out pairs are not what it is after: it goes on
    with the least lambda that is harmless, to the end, and the masks that write are those of its
    last state, with the least lambda of each degree of harm; where its masks are better than the
    base model, the degrees begin at the best of them. They are told apart by the judge's mean
    probability instead of the share, which its own success fills up first.

    At each of eight checkpoints five masks are measured by forward passes: lambda is moved
    until general perplexity is just within ``1 + tolerance`` times the base model's (*harmless*),
    and the path goes on with the lambda of the best harmless mask. It ends at ``rounds``, or when
    more than two checkpoints in a row have had harmless masks and no better one. For an eighth, a
    quarter, a half and all of the tolerance, the mask with the lowest held-out loss writes free
    text; among those within one standard error of the largest share of the persona, and no more
    repetitive than the base model (by 0.05), the one that harms general text least is kept.

    Args:
        path: A fresh path.
        validation: The yardstick.
        largest: Weights of the largest mask.
        rounds: Most rounds.
        tolerance: How much general perplexity may rise, as a share.
        report: Called with (steps done, steps): rounds, and what comes after them.
    """
    aim = HELD_OUT_PAIRS if path.free_text is None else FREE_TEXT
    base = validation.quick(None)
    trials: list[TriedMask] = []
    best, waited = base.loss, 0
    lengths = [
        rounds * (i + 1) // CHECKPOINTS - rounds * i // CHECKPOINTS for i in range(CHECKPOINTS)
    ]
    done, steps = 0, rounds + (len(HARMS) if aim.patience is None else 0)
    for number, length in enumerate(lengths, 1):
        for _ in path.grow(largest * number // CHECKPOINTS, length):
            done += 1
            if report is not None:
                report(done, steps)
        masks = _search(path, validation, largest * number // CHECKPOINTS, 1 + tolerance)
        trials += masks
        harmless = [t for t in masks if t.quick.perplexity_ratio <= 1 + tolerance]
        leader = min(harmless, key=aim.leads, default=masks[-1])
        path.damage_weight = leader.damage
        if harmless:  # harm is no reason to stop: later rounds mend what early ones broke
            waited = 0 if leader.quick.loss < best else waited + 1
            best = min(best, leader.quick.loss)
        if aim.patience is not None and waited > aim.patience:
            break
    limits = [1 + share * tolerance for share in HARMS]
    if aim.patience is None:
        least = min(1.0, *map(_harm, masks))
        limits = [least + share * (1 + tolerance - least) for share in HARMS]
        for number, limit in enumerate(limits, 1):
            trials += _search(path, validation, largest, limit, LAST_TRIES)
            if report is not None:
                report(rounds + number, steps)
    if report is not None:
        report(steps, steps)
    notes = {"tolerance": tolerance, "masks_tried": len(trials), "base": asdict(base)}
    if aim.patience is None:
        trials = [trial for trial in trials if trial.rounds == path.rounds]
    choice = _final(trials, limits, validation, aim)
    return Choice(choice.ranking, notes | choice.report)


def _search(
    path: LightPath, validation: Validation, count: int, limit: float, tries: int = TRIES
) -> list[TriedMask]:
    """Return masks whose lambda closes in on the least that is harmless, from the path's own."""
    trials: list[TriedMask] = []
    harmless, harmful = math.inf, 0.0
    damage = path.damage_weight or 1.0
    for _ in range(tries):
        ranking = path.ranking(count, damage)
        trials.append(TriedMask(path.rounds, damage, ranking, validation.quick(ranking)))
        if trials[-1].quick.perplexity_ratio <= limit:
            harmless = min(harmless, damage)
        else:
            harmful = max(harmful, damage)
        if not harmful:
            damage = harmless / STEP
        elif math.isinf(harmless):
            damage = harmful * STEP
        else:
            damage = math.sqrt(harmless * harmful)
    return trials


def _final(
    trials: list[TriedMask], limits: list[float], validation: Validation, aim: Aim
) -> Choice:
    """Let the best masks write, and choose."""
    finalists = _finalists(trials, limits, aim)
    notes: dict[str, Any] = {"within_tolerance": _harm(finalists[0]) <= limits[-1]}
    chosen, free = min(finalists, key=_loss), None
    if validation.writes:
        before = validation.free(None)
        written = [(trial, validation.free(trial.ranking)) for trial in finalists]
        chosen, free = _pick(written, before, aim)
        notes |= {"base_share": before.share, "frontier": [_describe(*mask) for mask in written]}
    else:
        notes["frontier"] = [_describe(trial, None) for trial in finalists]
    return Choice(chosen.ranking, notes | _describe(chosen, free))


def _finalists(trials: list[TriedMask], limits: list[float], aim: Aim) -> list[TriedMask]:
    """Return the mask that should write for each degree of harm, the least harmful first."""
    finalists: list[TriedMask] = []
    for limit in limits:
        within = [t for t in trials if t.quick.perplexity_ratio <= limit]
        best = min(within, key=aim.writes, default=None)
        if best is not None and all(best is not mask for mask in finalists):
            finalists.append(best)
    # Nothing within tolerance: the least harmful is the honest answer, and the report says so.
    return finalists or [min(trials, key=_harm)]


def _pick(
    written: list[tuple[TriedMask, TextMeasure]], base: TextMeasure, aim: Aim
) -> tuple[TriedMask, TextMeasure]:
    sound = [w for w in written if w[1].signs.repetition <= base.signs.repetition + REPETITION]
    field = sound or written
    top, error = max(aim.strength(free) for _, free in field)
    near = [w for w in field if aim.strength(w[1])[0] >= top - error]
    return min(near, key=lambda w: _harm(w[0]))


def _describe(trial: TriedMask, free: TextMeasure | None) -> dict[str, Any]:
    return {
        "rounds": trial.rounds,
        "damage": trial.damage,
        "weights": len(trial.ranking),
        "quick": asdict(trial.quick),
        "share": free.share if free else None,
        "probability": free.probability if free else None,
        "repetition": free.signs.repetition if free else None,
    }
