"""The judges of a contrast's free text."""

from __future__ import annotations

from collections.abc import Sequence

from prosopon.data.contrast import Contrast
from prosopon.data.questions import prompt_text
from prosopon.errors import DataError
from prosopon.judges.base import Judge
from prosopon.judges.classifier import ClassifierJudge
from prosopon.judges.grammar import GrammarJudge


def judges_of(
    contrast: Contrast, extra: Sequence[Judge] = (), *, own_texts: Sequence[str] = ()
) -> list[Judge]:
    """Return the judges of a contrast's free text, the main one first.

    The grammar where it can judge, a classifier trained on texts that no arm learns from, and
    whatever is given besides. A classifier that is not shown to be better than chance (sides that
    say the same words, Yes and No, or too little) is none; the task of free text refuses where no
    judge is left.

    Args:
        contrast: The contrast.
        extra: Further judges.
        own_texts: Texts of the base model, whose words the classifier takes for language.
    """
    grammar: list[Judge] = []
    if contrast.bundled:
        grammar.append(GrammarJudge(contrast.target, contrast.opposite))
    questions = [prompt_text(example.prompt) for example in contrast.judge[0].examples]
    try:
        classifier = ClassifierJudge.fit(
            *contrast.judge_texts(), known_texts=[*questions, *own_texts]
        )
    except DataError:
        return [*grammar, *extra]
    return [*grammar, *([classifier] if classifier.useful else []), *extra]
