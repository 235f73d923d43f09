"""``--sparsity auto``: one path, many masks looked at, the strongest that does no harm kept.

The sums of gains do not depend on lambda, so every checkpoint of a single path gives masks of any
price for a few forward passes: the price is moved until general text is just within tolerance.
The best masks of several degrees of harm write free text.
"""

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
class Aim:
    """How masks are compared on the way of a path and at its end.

    Attributes:
        cost: The path goes on with the lambda of the harmless mask where this is least, and of
            each degree of harm the mask where it is least writes free text.
        strength: How much of the persona free text shows, and its standard error.
        patience: Checkpoints with harmless masks but no lower loss before the path ends; None
            for a path that goes to its end, where masks of its last state are looked for.
    """

    cost: Callable[[TriedMask], float]
    strength: Callable[[TextMeasure], tuple[float, float]]
    patience: int | None


HELD_OUT_PAIRS = Aim(lambda mask: mask.quick.loss, lambda free: (free.share, free.error), 2)
FREE_TEXT = Aim(
    lambda mask: mask.damage, lambda free: (free.probability, free.probability_error), None
)


def _harm(mask: TriedMask) -> float:
    return mask.quick.perplexity_ratio


def choose(
    path: LightPath,
    validation: Validation,
    *,
    largest: int,
    rounds: int,
    tolerance: float,
    report: Callable[[int, int], None],
) -> tuple[Ranking, dict[str, Any]]:
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

    Returns:
        The mask, and how it was chosen, for the provenance: JSON.
    """
    aim = HELD_OUT_PAIRS if path.free_text is None else FREE_TEXT
    base = validation.quick(None)
    trials: list[TriedMask] = []
    best, waited = base.loss, 0
    steps = rounds + (len(HARMS) if aim.patience is None else 0)
    for number in range(1, CHECKPOINTS + 1):
        length = rounds * number // CHECKPOINTS - rounds * (number - 1) // CHECKPOINTS
        for _ in path.grow(largest * number // CHECKPOINTS, length):
            report(path.rounds - 1, steps)
        masks = _search(path, validation, largest * number // CHECKPOINTS, 1 + tolerance)
        trials += masks
        harmless = [mask for mask in masks if _harm(mask) <= 1 + tolerance]
        leader = min(harmless, key=aim.cost, default=masks[-1])
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
            report(rounds + number, steps)
    report(steps, steps)
    notes = {"tolerance": tolerance, "masks_tried": len(trials), "base": asdict(base)}
    if aim.patience is None:
        trials = [mask for mask in trials if mask.rounds == path.rounds]
    ranking, choice = _final(trials, limits, validation, aim)
    return ranking, notes | choice


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
        if _harm(trials[-1]) <= limit:
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
) -> tuple[Ranking, dict[str, Any]]:
    """Let the best masks write, and choose."""
    finalists = _finalists(trials, limits, aim)
    notes: dict[str, Any] = {"within_tolerance": _harm(finalists[0]) <= limits[-1]}
    chosen, free = min(finalists, key=HELD_OUT_PAIRS.cost), None
    if validation.writer is not None:
        before = validation.free(validation.writer, None)
        written = [(mask, validation.free(validation.writer, mask.ranking)) for mask in finalists]
        chosen, free = _pick(written, before, aim)
        notes |= {"base_share": before.share, "frontier": [_describe(*mask) for mask in written]}
    else:
        notes["frontier"] = [_describe(trial, None) for trial in finalists]
    return chosen.ranking, notes | _describe(chosen, free)


def _finalists(trials: list[TriedMask], limits: list[float], aim: Aim) -> list[TriedMask]:
    """Return the mask that should write for each degree of harm, the least harmful first."""
    finalists: list[TriedMask] = []
    for limit in limits:
        best = min((t for t in trials if _harm(t) <= limit), key=aim.cost, default=None)
        if best is not None and all(best is not mask for mask in finalists):
            finalists.append(best)
    # Nothing within tolerance: the least harmful is the honest answer, and the report says so.
    return finalists or [min(trials, key=_harm)]


def _pick(
    written: list[tuple[TriedMask, TextMeasure]], base: TextMeasure, aim: Aim
) -> tuple[TriedMask, TextMeasure]:
    most = base.signs.repetition + REPETITION
    field = [w for w in written if w[1].signs.repetition <= most] or written
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
