"""A judge for any persona: a small text classifier that knows how far it can be trusted."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prosopon.errors import DataError
from prosopon.intervals import Interval
from prosopon.judges.accuracy import balanced_accuracy
from prosopon.judges.base import Verdict
from prosopon.judges.embeddings import Embed
from prosopon.judges.language import LanguageCheck, LanguageReader

MINIMUM = 8
"""Fewest texts of each side."""

FOLDS = 5
UNSURE = 0.02  # share of the right verdicts that are given up for not calling everything a side's
MOST_UNSURE = 0.2  # and at most, for not calling neutral texts so
MOST_STRICT = 0.8  # and at most, for not calling a side's what the base itself says
NEUTRAL = 0.9  # share of neutral texts, and of the base's own, that should show no pole
TOKEN = r"(?u)\w+|[^\w\s]"


class TextJudge(ABC):
    """A judge that reads a text and first asks whether it is language.

    Attributes:
        name: As in tables.
        accuracy: How often it is right on texts whose author is known.
    """

    name: str

    def __init__(self, accuracy: Interval, language: LanguageCheck) -> None:
        self.accuracy, self._language = accuracy, language

    @property
    def useful(self) -> bool:
        """Whether it is better than chance: the whole interval of its accuracy is above 0.5."""
        return self.accuracy.low > 0.5

    def verdicts(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
        """Return whose each text is, in order; what is asked helps to tell language."""
        readable, poles = self.reads(texts, prompts), self.poles(texts)
        return [pole if reads else "neither" for pole, reads in zip(poles, readable, strict=True)]

    def reads(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[bool]:
        """Return of each text whether it is language."""
        return self._language.passes(texts, prompts)

    @abstractmethod
    def poles(self, texts: Sequence[str]) -> list[Verdict]:
        """Return whose each text is if it is language, as a known author's is."""

    def leanings(self, texts: Sequence[str]) -> list[Verdict]:
        """Return which side each text leans to, however commonplace it is."""
        return self.poles(texts)


class ClassifierJudge(TextJudge):
    """Says how likely a text is the target's rather than the opposite's, or that it is nobody's.

    TF-IDF of words (1 and 2 in a row, punctuation counts) and of letters (2 to 5 in a row, within
    words), and sentence embeddings where they are asked for; logistic regression with both sides
    weighted alike. Made by :meth:`fit`.

    A verdict is ``neither`` where the text is no language
    (:class:`~prosopon.judges.language.LanguageCheck`), or shows no pole: its probability is nearer
    to one half than :attr:`margin`, or no further out than :attr:`commonplace`.
    :meth:`probabilities` knows two sides only.

    Attributes:
        accuracy: Cross-validated accuracy on its own texts, the mean of the two sides' (0.5 is
            chance), with its interval: Wilson's of each side, joined by the square-and-add
            method (Zou and Donner 2008).
        margin: Distance of a probability from one half below which a text shows no pole: 90% of
            the neutral texts have less, where that costs at most a fifth of the right verdicts in
            cross-validation; at least all but 2% of these have more.
        commonplace: Probabilities between which 90% of the base's own answers to such questions
            lie on either side, where that leaves a fifth of the right verdicts; one half twice
            where none were given. A question's topic alone leans to a side.
    """

    name: str = "classifier"

    def __init__(
        self, pipeline: Any, accuracy: Interval, margin: float, language: LanguageCheck
    ) -> None:
        super().__init__(accuracy, language)
        self._pipeline, self.margin, self.commonplace = pipeline, margin, (0.5, 0.5)

    @classmethod
    def fit(
        cls,
        target_texts: Sequence[str],
        opposite_texts: Sequence[str],
        seed: int = 0,
        *,
        embed: Embed | None = None,
        known_texts: Sequence[str] = (),
        neutral_texts: Sequence[str] = (),
        own_texts: Sequence[str] = (),
        reader: LanguageReader | None = None,
    ) -> "ClassifierJudge":
        """Train a judge. The same texts and seed give the same judge.

        Args:
            target_texts: Texts of the target; blank ones are left out.
            opposite_texts: Texts of the opposite.
            seed: Seeds the folds of the cross-validation (5, stratified).
            embed: Gives features besides words and letters; see
                :func:`~prosopon.judges.sentence_embedder`. Off by default.
            known_texts: Language of neither side, whose words an answer may hold: questions, the
                base model's own texts.
            neutral_texts: Language that shows no pole, such as the base model's answers to
                neutral questions: sets the margin.
            own_texts: The base model's answers to questions such as the judge will read answers
                to: sets what is commonplace.
            reader: Reads texts with the base model; see
                :class:`~prosopon.judges.language.LanguageCheck`.

        Raises:
            DataError: Fewer than 8 texts of a side, or both sides say exactly the same.
        """
        ours = usable_texts(target_texts, "target")
        theirs = usable_texts(opposite_texts, "opposite")
        if sorted(ours) == sorted(theirs):
            raise DataError("target and opposite hold the same texts: no judge can tell them apart")
        texts, labels = [*ours, *theirs], [1] * len(ours) + [0] * len(theirs)
        analysers = make_analysers()
        held_out = predict_held_out(texts, labels, seed, make_pipeline(analysers, embed))
        odds = [float(row[1]) for row in held_out]
        right = [(p > 0.5) == label for p, label in zip(odds, labels, strict=True)]
        judge = cls(
            make_pipeline(analysers, embed).fit(texts, labels),
            balanced_accuracy(right[: len(ours)], right[len(ours) :]), 0.0,
            LanguageCheck(texts, [*known_texts, *neutral_texts, *own_texts], reader),
        )  # fmt: skip
        sure = [abs(p - 0.5) for p, hit in zip(odds, right, strict=True) if hit]
        unsure = [abs(p - 0.5) for p in judge.probabilities(neutral_texts)]
        judge.margin = _margin(sure, unsure)
        own = judge.probabilities(own_texts)
        ours_right, theirs_right = (
            [p for p, hit, label in zip(odds, right, labels, strict=True) if hit and label == side]
            for side in (1, 0)
        )
        judge.commonplace = (
            1 - _commonplace([1 - p for p in theirs_right], [1 - p for p in own]),
            _commonplace(ours_right, own),
        )
        for analyser in analysers:
            analyser.cache_clear()
        return judge

    def probabilities(self, texts: Sequence[str]) -> list[float]:
        """Return the probability that each text is the target's; a blank text gets 0.5."""
        if not texts:
            return []
        odds = self._pipeline.predict_proba(list(texts))[:, 1]
        return [float(p) if text.strip() else 0.5 for text, p in zip(texts, odds, strict=True)]

    def poles(self, texts: Sequence[str]) -> list[Verdict]:
        """Return whose each text is if it is language: more than the base would say anyway."""
        low, high = self.commonplace
        return [
            "neither" if low <= probability <= high else self._leaning(probability)
            for probability in self.probabilities(texts)
        ]

    def leanings(self, texts: Sequence[str]) -> list[Verdict]:
        """Return which side each text leans to, as :attr:`margin` alone says."""
        return [self._leaning(probability) for probability in self.probabilities(texts)]

    def _leaning(self, probability: float) -> Verdict:
        if probability == 0.5 or abs(probability - 0.5) < self.margin:
            return "neither"
        return "target" if probability > 0.5 else "opposite"


def usable_texts(texts: Sequence[str], side: str) -> list[str]:
    """Return the texts that are not blank; raise DataError where they are too few."""
    usable = [text for text in texts if text.strip()]
    if len(usable) < MINIMUM:
        raise DataError(
            f"a judge needs at least {MINIMUM} texts of the {side} that are not blank; there are "
            f"{len(usable)}"
        )
    return usable


def make_analysers() -> list[Any]:
    """Return what cuts a text into words, and into letters; the folds read every text once."""
    from sklearn.feature_extraction.text import CountVectorizer

    cutters = (
        CountVectorizer(ngram_range=(1, 2), token_pattern=TOKEN),
        CountVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
    )
    return [lru_cache(1024)(cutter.build_analyzer()) for cutter in cutters]


def make_pipeline(analysers: Sequence[Any], embed: Embed | None = None) -> Any:
    """Return an untrained classifier of texts, from words, letters and what ``embed`` gives."""
    from sklearn import pipeline
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

    blocks: list[Any] = [TfidfVectorizer(analyzer=cut, sublinear_tf=True) for cut in analysers]
    if embed is not None:
        # What all texts share would hide what tells them apart.
        blocks.append(
            pipeline.make_pipeline(FunctionTransformer(embed), StandardScaler(), Normalizer())
        )
    features = pipeline.make_union(*blocks)
    # All blocks have length 1, and few texts have many features: a weak pull to zero suffices.
    return pipeline.make_pipeline(
        features, LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000)
    )


def predict_held_out(
    texts: Sequence[str], labels: Sequence[int], seed: int, pipeline: Any
) -> NDArray[Any]:
    """Return the probabilities of each text where it was left out, ``[texts, classes]``."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return np.asarray(
        cross_val_predict(pipeline, list(texts), list(labels), cv=folds, method="predict_proba")
    )


def _commonplace(right: Sequence[float], own: Sequence[float]) -> float:
    """Return the probability that a side's text must exceed, by right verdicts and own texts."""
    if not right or not own:
        return 0.5
    common = sorted(own)[int(NEUTRAL * len(own))]
    return max(0.5, min(common, sorted(right)[int(MOST_STRICT * len(right))]))


def _margin(sure: Sequence[float], unsure: Sequence[float]) -> float:
    """Return the margin by the distances of right verdicts and of neutral texts."""
    right, neutral = sorted(sure), sorted(unsure)
    if not right:
        return 0.0
    least, most = (right[int(share * len(right))] for share in (UNSURE, MOST_UNSURE))
    wanted = neutral[int(NEUTRAL * len(neutral))] if neutral else 0.0
    return max(least, min(wanted, most))
