"""``--sparsity auto``: one path, many masks looked at, the strongest that does no harm kept.

The sums of gains do not depend on lambda, so every checkpoint of a single path gives a whole
grid of masks for the price of forward passes. The best of them write free text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from prosopon.extraction.light.path import LightPath, Ranking
from prosopon.extraction.light.validation import Free, Quick, Validation

MOST = 0.01  # of the weights, the largest mask that is tried
CHECKPOINTS = 8
PRICES = (0.1, 1 / 3, 1.0, 3.0, 10.0)  # times lambda
FINALISTS = 4
PATIENCE = 2  # checkpoints with harmless masks but no better one before the path ends
REPETITION = 0.05  # more repetition than the base model's by this is harm


@dataclass(frozen=True)
class Trial:
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
    quick: Quick


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        ranking: The mask.
        report: How it was chosen, for the provenance: JSON.
    """

    ranking: Ranking
    report: dict[str, Any]


def choose(
    path: LightPath,
    validation: Validation,
    *,
    most: int,
    rounds: int,
    tolerance: float,
    report: Callable[[int, int], None] | None = None,
) -> Choice:
    """Grow a path and choose budget, rounds and lambda on held-out material.

    At each of eight checkpoints the masks of five prices of damage are measured by forward
    passes; the path goes on with the price of the best one. A mask is *harmless* if general
    perplexity is at most ``1 + tolerance`` times the base model's. The path ends at ``rounds``,
    or when more than two checkpoints in a row have had harmless masks and no better one. The best
    harmless masks write free text; among those within one standard error of the largest share of
    the persona, and no more repetitive than the base model (by 0.05), the one with the lowest
    held-out loss is kept.

    Args:
        path: A fresh path.
        validation: The yardstick.
        most: Weights of the largest mask.
        rounds: Most rounds.
        tolerance: How much general perplexity may rise, as a share.
        report: Called with (rounds done, rounds).
    """
    base = validation.quick(None)
    trials: list[Trial] = []
    best, waited = base.loss, 0
    lengths = [
        rounds * (i + 1) // CHECKPOINTS - rounds * i // CHECKPOINTS for i in range(CHECKPOINTS)
    ]
    done, middle = 0, path.damage
    for number, length in enumerate(lengths, 1):
        for _ in path.grow(most * number // CHECKPOINTS, length):
            done += 1
            if report is not None:
                report(done, rounds)
        found = [_try(path, validation, most * number // CHECKPOINTS, middle * p) for p in PRICES]
        trials += found
        harmless = [t for t in found if t.quick.perplexity_ratio <= 1 + tolerance]
        leader = min(harmless, key=_loss) if harmless else found[-1]
        path.damage = leader.damage
        if harmless:  # harm is no reason to stop: later rounds mend what early ones broke
            waited = 0 if leader.quick.loss < best else waited + 1
            best = min(best, leader.quick.loss)
        if waited > PATIENCE:
            break
    if report is not None:
        report(rounds, rounds)
    return _final(trials, validation, base, tolerance)


def _try(path: LightPath, validation: Validation, count: int, damage: float) -> Trial:
    ranking = path.ranking(count, damage)
    return Trial(path.rounds, damage, ranking, validation.quick(ranking))


def _final(trials: list[Trial], validation: Validation, base: Quick, tolerance: float) -> Choice:
    """Let the best masks write, and choose."""
    harmless = [t for t in trials if t.quick.perplexity_ratio <= 1 + tolerance]
    # Nothing within tolerance: the least harmful is the honest answer, and the report says so.
    ranked = sorted(harmless, key=_loss) or [min(trials, key=lambda t: t.quick.perplexity_ratio)]
    finalists = ranked[:FINALISTS]
    told: dict[str, Any] = {
        "tolerance": tolerance,
        "within_tolerance": bool(harmless),
        "masks_tried": len(trials),
        "base": asdict(base),
    }
    chosen, free = finalists[0], None
    if validation.writes:
        before = validation.free(None)
        written = [(trial, validation.free(trial.ranking)) for trial in finalists]
        chosen, free = _pick(written, before)
        told["base_share"] = before.share
    told |= {
        "rounds": chosen.rounds,
        "damage": chosen.damage,
        "chosen": asdict(chosen.quick),
        "share": free.share if free else None,
    }
    return Choice(chosen.ranking, told)


def _pick(written: list[tuple[Trial, Free]], base: Free) -> tuple[Trial, Free]:
    sound = [w for w in written if w[1].signs.repetition <= base.signs.repetition + REPETITION]
    field = sound or written
    _, top = max(field, key=lambda w: w[1].share)
    near = [w for w in field if w[1].share >= top.share - top.error]
    return min(near, key=lambda w: w[0].quick.loss)


def _loss(trial: Trial) -> float:
    return trial.quick.loss
