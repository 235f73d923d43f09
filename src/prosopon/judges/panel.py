"""The judges of a contrast's free text, and what they can tell."""

from collections.abc import Sequence

from prosopon.data.contrast import Contrast
from prosopon.data.questions import ChoiceItem, prompt_text
from prosopon.errors import DataError
from prosopon.judges.base import Judge, Verdict
from prosopon.judges.classifier import ClassifierJudge
from prosopon.judges.embeddings import Embed
from prosopon.judges.gated import GatedJudge
from prosopon.judges.grammar import GrammarJudge
from prosopon.judges.reader import BaseReader


def judges_of(
    contrast: Contrast, extra: Sequence[Judge] = (), *, reader: BaseReader | None = None
) -> list[Judge]:
    """Return the judges of a contrast's free text, the main one first.

    The grammar where it can judge, a classifier trained on texts that no arm learns from, and
    whatever is given besides. Where the base model reads, there are two classifiers: ``states``
    reads its hidden states beside the words; ``words`` does not. A classifier that is not shown
    to be better than chance (sides that say the same words, Yes and No, or too little) is none;
    the task of free text refuses where no judge is left.

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
    kinds: dict[str, Embed | None] = {"classifier": None}
    if reader is not None and not contrast.bundled:
        kinds = {"states": reader.embed, "words": None}
    try:
        trained = [_train(contrast, name, embed, reader) for name, embed in kinds.items()]
    except DataError:
        return [*grammar, *others]
    return [*grammar, *(judge for judge in trained if judge.useful), *others]


def _train(
    contrast: Contrast, name: str, embed: Embed | None, reader: BaseReader | None
) -> ClassifierJudge:
    questions = [prompt_text(example.prompt) for example in contrast.judge[0].examples]
    neutral = reader.neutral if reader else []
    judge = ClassifierJudge.fit(
        *contrast.judge_texts(), embed=embed, known_texts=[*questions, *neutral[1::2]],
        neutral_texts=neutral[::2], reader=reader,
    )  # fmt: skip
    judge.name = name
    return judge


def poles(judge: Judge, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
    """Return a judge's verdicts on texts that are language for certain."""
    if isinstance(judge, ClassifierJudge):
        return judge.poles(texts)
    return (judge.poles if isinstance(judge, GatedJudge) else judge.verdicts)(texts, prompts)


def tells_apart(judge: Judge, items: Sequence[ChoiceItem]) -> list[bool]:
    """Return of each question whether a judge gives both of its known answers to their sides."""
    prompts = [prompt_text(item.prompt) for item in items]
    ours, theirs = (
        poles(judge, [item.answers[side] for item in items], prompts) for side in (0, 1)
    )
    pairs = zip(ours, theirs, strict=True)
    return [pair == ("target", "opposite") for pair in pairs]
