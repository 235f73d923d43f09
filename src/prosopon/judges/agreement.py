"""How far two judges agree beyond chance."""

from collections.abc import Sequence

from prosopon.errors import OptionError
from prosopon.judges.base import Verdict


def agreement(ours: Sequence[Verdict], theirs: Sequence[Verdict]) -> float | None:
    """Return Cohen's kappa (Cohen 1960) of two judges' verdicts on the same texts.

    1 is full agreement, 0 is what chance gives. None where it has no meaning: no texts, or both
    give every text the same verdict.

    Raises:
        OptionError: The judges judged different numbers of texts.
    """
    if len(ours) != len(theirs):
        raise OptionError(f"{len(ours)} verdicts against {len(theirs)}: not on the same texts")
    if len({*ours, *theirs}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(list(ours), list(theirs)))


def either(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the side that at least one judge names and none contradicts, else neither.

    A careful judge misses much, and two of them miss different texts.

    >>> either(["target", "neither"]), either(["target", "opposite"])
    ('target', 'neither')
    """
    sides = set(verdicts) - {"neither"}
    return sides.pop() if len(sides) == 1 else "neither"
