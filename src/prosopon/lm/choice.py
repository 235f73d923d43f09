"""Who wins a choice between options: the one rule, whoever asks."""

import math
from collections.abc import Sequence
from statistics import fmean

from prosopon.errors import ModelError


def win_share(scores: Sequence[float], option: int = 0) -> float:
    """Return 1 where an option beats all others, 0 where one beats it, a share of a tie.

    Two options that tie count one half each, three a third.

    Args:
        scores: One for each option, higher is better; infinities are allowed.
        option: Index of the option.

    Raises:
        ModelError: A score is NaN, so nothing wins.
    """
    if any(math.isnan(score) for score in scores):
        raise ModelError("an answer's likelihood is NaN: the model computes no numbers")
    best = max(scores)
    return (scores[option] == best) / sum(score == best for score in scores)


def win_margin(scores: Sequence[float], option: int = 0) -> float:
    """Return an option's score less the best other one's."""
    return scores[option] - max(score for i, score in enumerate(scores) if i != option)


def win_rate(questions: Sequence[Sequence[float]]) -> float:
    """Return the mean share of wins of the first option over questions.

    Args:
        questions: Scores of each question's options, see :func:`win_share`.

    Raises:
        ModelError: A score is NaN.
    """
    return fmean(win_share(scores) for scores in questions)
