"""The classifier with further features, and what is said where the package is missing."""

from importlib.util import find_spec

import numpy as np
import pytest

from prosopon.errors import OptionError
from prosopon.judges import ClassifierJudge, sentence_embedder

# Nothing but the number of words tells the sides apart: no word or letter is one side's own.
SHORT = [("ab ba " * n).strip() for n in range(4, 16)]
LONG = [("ba ab " * n).strip() for n in range(24, 36)]


def lengths(texts):
    sizes = np.array([[len(text.split()) / 50] for text in texts])
    return (
        np.hstack([sizes, 1 - sizes])
        / np.linalg.norm(np.hstack([sizes, 1 - sizes]), axis=1)[:, None]
    )


def test_further_features_are_learned_from():
    judge = ClassifierJudge.fit(SHORT, LONG, embed=lengths)
    assert judge.accuracy.mean == 1
    assert judge.verdicts(["ab ba " * 5, "ba ab " * 34, " "]) == ["target", "opposite", "neither"]
    plain, again = (ClassifierJudge.fit(SHORT, LONG, embed=e) for e in (None, lengths))
    assert again.probabilities(SHORT) == judge.probabilities(SHORT)
    assert plain.probabilities(SHORT) != judge.probabilities(SHORT)


@pytest.mark.skipif(
    find_spec("sentence_transformers") is not None, reason="sentence-transformers is installed"
)
def test_a_missing_package_is_named():
    with pytest.raises(OptionError, match=r"'an/encoder' need sentence-transformers.*pip install"):
        sentence_embedder("an/encoder")
