"""The judges of a contrast's free text, and what they can tell."""

from collections.abc import Iterator, Sequence

from prosopon.data.contrast import Contrast
from prosopon.data.questions import ChoiceItem, prompt_text
from prosopon.errors import DataError
from prosopon.judges.base import Judge, Verdict
from prosopon.judges.classifier import ClassifierJudge, TextJudge
from prosopon.judges.gated import GatedJudge
from prosopon.judges.grammar import GrammarJudge
from prosopon.judges.reader import BaseReader
from prosopon.judges.three_way import ThreeWayJudge


def judges_of(
    contrast: Contrast, extra: Sequence[Judge] = (), *, reader: BaseReader | None = None
) -> list[Judge]:
    """Return the judges of a contrast's free text, the main one first.

    The grammar where it can judge, a classifier trained on texts that no arm learns from, and
    whatever is given besides. Where the base model reads, there are two classifiers: ``words``
    gives a text to a side that shows it more than nearly all of the base's own answers to the
    questions of the judge's texts; ``three-way`` has those answers for a third class. A classifier
    that is not shown to be better than chance (sides that say the same words, Yes and No, or too
    little) is none; the task of free text refuses where no judge is left.

    Args:
        contrast: The contrast.
        extra: Further judges.
        reader: The base model: all judges but the grammar, which is exact, give to neither what
            it finds to be no language. Every other of its neutral texts sets the classifier's
            margin; the rest is for checking it.
    """
    grammar: list[Judge] = []
    if contrast.bundled:
        grammar.append(GrammarJudge(contrast.target, contrast.opposite))
    others = [GatedJudge(judge, reader) for judge in extra] if reader else list(extra)
    try:
        trained = list(_train(contrast, reader))
    except DataError:
        return [*grammar, *others]
    return [*grammar, *(judge for judge in trained if judge.useful), *others]


def _train(contrast: Contrast, reader: BaseReader | None) -> Iterator[TextJudge]:
    questions = {
        prompt_text(example.prompt): example.prompt for example in contrast.judge[0].examples
    }
    neutral = reader.neutral if reader else []
    # The embedded model's own answers are always some persona's.
    own = reader.own_answers(list(questions.values())) if reader and not contrast.bundled else []
    judge = ClassifierJudge.fit(
        *contrast.judge_texts(), known_texts=[*questions, *neutral[1::2]],
        neutral_texts=neutral[::2], own_texts=own, reader=reader,
    )  # fmt: skip
    if own:
        judge.name = "words"
    yield judge
    if own:
        yield ThreeWayJudge.fit(
            *contrast.judge_texts(), [*own, *neutral[::2]],
            known_texts=[*questions, *neutral[1::2]], reader=reader,
        )  # fmt: skip


def poles(judge: Judge, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
    """Return a judge's verdicts on texts that are language for certain."""
    if isinstance(judge, TextJudge):
        return judge.poles(texts)
    return (judge.poles if isinstance(judge, GatedJudge) else judge.verdicts)(texts, prompts)


def tells_apart(judge: Judge, items: Sequence[ChoiceItem]) -> list[bool]:
    """Return of each question whether both of its known answers lean to their sides."""
    prompts = [prompt_text(item.prompt) for item in items]
    sides = ([item.answers[side] for item in items] for side in (0, 1))
    ours, theirs = (
        judge.leanings(texts) if isinstance(judge, TextJudge) else poles(judge, texts, prompts)
        for texts in sides
    )
    pairs = zip(ours, theirs, strict=True)
    return [pair == ("target", "opposite") for pair in pairs]
