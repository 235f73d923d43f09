"""A judge that is asked of language alone."""

from collections.abc import Sequence

from prosopon.intervals import Interval
from prosopon.judges.base import Judge, Verdict
from prosopon.judges.language import LanguageReader


class GatedJudge:
    """Another judge, behind a reader: what is no language is neither's, and is not asked about.

    Args:
        judge: The judge.
        reader: Says what is language.
    """

    def __init__(self, judge: Judge, reader: LanguageReader) -> None:
        self.judge, self._reader = judge, reader

    @property
    def name(self) -> str:
        """The judge's name."""
        return self.judge.name

    @property
    def accuracy(self) -> Interval | None:
        """The judge's accuracy, which is of known authors' texts and not gated."""
        return self.judge.accuracy

    def verdicts(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
        """Return whose each text is, in order."""
        readable = self._reader.passes(texts, prompts)
        left = [index for index, reads in enumerate(readable) if reads]
        verdicts: list[Verdict] = ["neither"] * len(texts)
        answers = self.judge.verdicts(
            [texts[index] for index in left], [prompts[index] for index in left] if prompts else ()
        )
        for index, verdict in zip(left, answers, strict=True):
            verdicts[index] = verdict
        return verdicts

    def poles(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
        """Return whose each text is, taking for granted that it is language."""
        return self.judge.verdicts(texts, prompts)
