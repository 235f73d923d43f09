"""A judge that knows three authors: both sides, and the base model itself."""

from collections.abc import Sequence
from typing import Any, get_args

from prosopon.intervals import Interval
from prosopon.judges.accuracy import balanced_accuracy
from prosopon.judges.base import Verdict
from prosopon.judges.classifier import (
    TextJudge,
    make_analysers,
    make_pipeline,
    predict_held_out,
    usable_texts,
)
from prosopon.judges.language import LanguageCheck, LanguageReader

KINDS: tuple[Verdict, ...] = get_args(Verdict)


class ThreeWayJudge(TextJudge):
    """Says whose a text is, where nobody's is a class of its own, taught by the base's own texts.

    The features and the regression are :class:`~prosopon.judges.ClassifierJudge`'s. It finds
    next to no persona in what the base says anyway. It is strict with a persona that speaks in the
    base's voice, because it also learns who wrote a text: a second opinion, not the first.

    Attributes:
        accuracy: Cross-validated accuracy on both sides' own texts with its interval, as the
            two-sided judge has it; one that gives them to nobody is wrong.
    """

    name: str = "three-way"

    def __init__(self, pipeline: Any, accuracy: Interval, language: LanguageCheck) -> None:
        super().__init__(accuracy, language)
        self._pipeline = pipeline

    @classmethod
    def fit(
        cls,
        target_texts: Sequence[str],
        opposite_texts: Sequence[str],
        own_texts: Sequence[str],
        seed: int = 0,
        *,
        known_texts: Sequence[str] = (),
        reader: LanguageReader | None = None,
    ) -> "ThreeWayJudge":
        """Train a judge. The same texts and seed give the same judge.

        Args:
            target_texts: Texts of the target; blank ones are left out.
            opposite_texts: Texts of the opposite.
            own_texts: Texts of the base model, some of them answers to such questions.
            seed: Seeds the folds of the cross-validation (5, stratified).
            known_texts: Language of no side, whose words an answer may hold.
            reader: Reads texts with the base model.

        Raises:
            DataError: Fewer than 8 texts of a kind.
        """
        sides = (("target", target_texts), ("opposite", opposite_texts), ("base", own_texts))
        groups = [usable_texts(texts, name) for name, texts in sides]
        texts = [text for group in groups for text in group]
        labels = [number for number, group in enumerate(groups) for _ in group]
        analysers = make_analysers()
        odds = predict_held_out(texts, labels, seed, make_pipeline(analysers))
        right = [row.argmax() == label for row, label in zip(odds, labels, strict=True)]
        count, both = len(groups[0]), len(groups[0]) + len(groups[1])
        judge = cls(
            make_pipeline(analysers).fit(texts, labels),
            balanced_accuracy(right[:count], right[count:both]),
            LanguageCheck(texts[:both], [*known_texts, *groups[2]], reader),
        )
        for analyser in analysers:
            analyser.cache_clear()
        return judge

    def poles(self, texts: Sequence[str]) -> list[Verdict]:
        """Return whose each text is if it is language; a blank one is nobody's."""
        if not texts:
            return []
        labels = self._pipeline.predict(list(texts))
        return [
            KINDS[label] if text.strip() else "neither"
            for text, label in zip(texts, labels, strict=True)
        ]
