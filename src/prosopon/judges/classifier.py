"""A judge for any persona: a small text classifier that knows how far it can be trusted."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

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
NEUTRAL = 0.9  # share of neutral texts that should show no pole
TOKEN = r"(?u)\w+|[^\w\s]"


class ClassifierJudge:
    """Says how likely a text is the target's rather than the opposite's, or that it is nobody's.

    TF-IDF of words (1 and 2 in a row, punctuation counts) and of letters (2 to 5 in a row, within
    words), and sentence embeddings where they are asked for; logistic regression with both sides
    weighted alike. Made by :meth:`fit`.

    A verdict is ``neither`` where the text is no language
    (:class:`~prosopon.judges.language.LanguageCheck`), or shows no pole: its probability is nearer
    to one half than :attr:`margin`. :meth:`probabilities` knows two sides only.

    Attributes:
        accuracy: Cross-validated accuracy on its own texts, the mean of the two sides' (0.5 is
            chance), with its interval: Wilson's of each side, joined by the square-and-add
            method (Zou and Donner 2008).
        margin: Distance of a probability from one half below which a text shows no pole: 90% of
            the neutral texts have less, where that costs at most a fifth of the right verdicts in
            cross-validation; at least all but 2% of these have more.
    """

    name: str = "classifier"

    def __init__(
        self, pipeline: Any, accuracy: Interval, margin: float, language: LanguageCheck
    ) -> None:
        self._pipeline, self._language = pipeline, language
        self.accuracy, self.margin = accuracy, margin

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
            reader: Reads texts with the base model; see
                :class:`~prosopon.judges.language.LanguageCheck`.

        Raises:
            DataError: Fewer than 8 texts of a side, or both sides say exactly the same.
        """
        ours = _usable(target_texts, "target")
        theirs = _usable(opposite_texts, "opposite")
        if sorted(ours) == sorted(theirs):
            raise DataError("target and opposite hold the same texts: no judge can tell them apart")
        texts, labels = [*ours, *theirs], [1] * len(ours) + [0] * len(theirs)
        analysers = _analysers()
        odds = _cross_validate(texts, labels, seed, _pipeline(analysers, embed))
        right = [(p > 0.5) == label for p, label in zip(odds, labels, strict=True)]
        judge = cls(
            _pipeline(analysers, embed).fit(texts, labels),
            balanced_accuracy(right[: len(ours)], right[len(ours) :]), 0.0,
            LanguageCheck(texts, [*known_texts, *neutral_texts], reader),
        )  # fmt: skip
        sure = [abs(p - 0.5) for p, hit in zip(odds, right, strict=True) if hit]
        unsure = [abs(p - 0.5) for p in judge.probabilities(neutral_texts)]
        judge.margin = _margin(sure, unsure)
        for analyser in analysers:
            analyser.cache_clear()
        return judge

    @property
    def useful(self) -> bool:
        """Whether it is better than chance: the whole interval of its accuracy is above 0.5."""
        return self.accuracy.low > 0.5

    def probabilities(self, texts: Sequence[str]) -> list[float]:
        """Return the probability that each text is the target's; a blank text gets 0.5."""
        if not texts:
            return []
        odds = self._pipeline.predict_proba(list(texts))[:, 1]
        return [float(p) if text.strip() else 0.5 for text, p in zip(texts, odds, strict=True)]

    def verdicts(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
        """Return whose each text is, in order; what is asked helps to tell language."""
        readable, poles = self.reads(texts, prompts), self.poles(texts)
        return [pole if reads else "neither" for pole, reads in zip(poles, readable, strict=True)]

    def reads(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[bool]:
        """Return of each text whether it is language."""
        return self._language.passes(texts, prompts)

    def poles(self, texts: Sequence[str]) -> list[Verdict]:
        """Return whose each text is if it is language, as a known author's is."""
        return [self._pole(probability) for probability in self.probabilities(texts)]

    def _pole(self, probability: float) -> Verdict:
        if probability == 0.5 or abs(probability - 0.5) < self.margin:
            return "neither"
        return "target" if probability > 0.5 else "opposite"


def _usable(texts: Sequence[str], side: str) -> list[str]:
    usable = [text for text in texts if text.strip()]
    if len(usable) < MINIMUM:
        raise DataError(
            f"a judge needs at least {MINIMUM} texts of the {side} that are not blank; there are "
            f"{len(usable)}"
        )
    return usable


def _analysers() -> list[Any]:
    """Return what cuts a text into words, and into letters; the folds read every text once."""
    from sklearn.feature_extraction.text import CountVectorizer

    cutters = (
        CountVectorizer(ngram_range=(1, 2), token_pattern=TOKEN),
        CountVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
    )
    return [lru_cache(1024)(cutter.build_analyzer()) for cutter in cutters]


def _pipeline(analysers: Sequence[Any], embed: Embed | None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

    blocks: list[Any] = [TfidfVectorizer(analyzer=cut, sublinear_tf=True) for cut in analysers]
    if embed is not None:
        # What all texts share would hide what tells them apart.
        blocks.append(make_pipeline(FunctionTransformer(embed), StandardScaler(), Normalizer()))
    features = make_union(*blocks)
    # All blocks have length 1, and few texts have many features: a weak pull to zero suffices.
    return make_pipeline(
        features, LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000)
    )


def _cross_validate(
    texts: Sequence[str], labels: Sequence[int], seed: int, pipeline: Any
) -> list[float]:
    """Return the probability of each text where it was left out."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    odds = cross_val_predict(pipeline, list(texts), list(labels), cv=folds, method="predict_proba")
    return [float(probability) for probability in odds[:, 1]]


def _margin(sure: Sequence[float], unsure: Sequence[float]) -> float:
    """Return the margin by the distances of right verdicts and of neutral texts."""
    right, neutral = sorted(sure), sorted(unsure)
    if not right:
        return 0.0
    least, most = (right[int(share * len(right))] for share in (UNSURE, MOST_UNSURE))
    wanted = neutral[int(NEUTRAL * len(neutral))] if neutral else 0.0
    return max(least, min(wanted, most))
