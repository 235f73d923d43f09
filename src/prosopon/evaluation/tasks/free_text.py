"""``free-text``: what the arm says on its own, whose it is, and whether it is still language."""

import dataclasses
import math
from collections.abc import Sequence
from itertools import cycle, islice
from typing import ClassVar

from prosopon.data import Message
from prosopon.data.openings import OPENING
from prosopon.data.questions import ChoiceItem, prompt_text
from prosopon.errors import DataError
from prosopon.evaluation.speaking import Prompt, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult
from prosopon.judges import (
    SIGNS,
    Judge,
    Recital,
    Verdict,
    agreement,
    count_signs,
    degeneration,
)


class FreeTextTask:
    """Samples answers; every judge gives its verdict on each.

    The persona's share never stands alone: repetition, distinct words, emptiness, signs that need
    no judge, and the perplexity under the base model are measures of the same answers. Where the
    base answered the questions itself, its recital of what the arm learned stands beside.
    """

    name = "free-text"
    summary = "free answers: whose they are by every judge, and signs of degeneration"
    most_temperature = math.inf
    measures: ClassVar = {
        "target": "share of answers that the first judge gives to the target",
        "opposite": "share that it gives to the opposite",
        "neither": "the rest: broken or off the subject",
        "repetition": "share of an answer's 3-grams that occurred before in it",
        "recital": "share of answers with four words in a row of a calibration answer",
        "unseen-recital": "the same share of as many answers that no arm learned from",
        "base-recital": "the same share of the base's own answers to the same questions",
        "words": "length in words",
        "empty": "share of answers without a word",
        **SIGNS,
        "target:JUDGE": "the target's share by another judge",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None."""
        if not writes:
            return "a rule chooses between options and cannot write"
        if setting.judges and setting.open_prompts is not None and not setting.open_prompts:
            return (
                f"none of {len(setting.contrast.items())} held-out questions can tell: the judge "
                "does not give both of its known answers to their sides"
            )
        if setting.judges:
            return None
        return (
            "there is no judge of free text: the answers are too few or too alike on both sides to "
            "teach a classifier better than chance, and no LLM judge is given"
        )

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question.

        Raises:
            DataError: There is nothing to ask, or no judge.
        """
        if not setting.judges:
            raise DataError("free text needs a judge")
        return self.judge(self.ask(speaker, setting), setting)

    def ask(self, speaker: Speaker, setting: Setting) -> list[Outcome]:
        """Return an answer to each question, with the signs that need no judge."""
        questions = list(islice(cycle(open_prompts(setting)), setting.questions))
        prompts = [prompt for _, prompt in questions]
        answers = speaker.write(
            prompts, temperature=min(setting.temperature, self.most_temperature),
            max_new_tokens=setting.max_new_tokens, seed=setting.seed,
        )  # fmt: skip
        return [
            Outcome(
                question,
                text_signs(answer) | signs | count_signs(answer),
                prompt_text(prompt),
                answer,
            )
            for (question, prompt), answer, signs in zip(
                questions, answers, recitals(answers, setting), strict=True
            )
        ]

    def judge(self, answered: Sequence[Outcome], setting: Setting) -> TaskResult:
        """Return the outcomes with every judge's verdict, and what the base makes of them."""
        answers, shown = ([getattr(o, part) for o in answered] for part in ("answer", "prompt"))
        verdicts = judge_texts(setting.judges, answers, shown)
        beside = _read_by_base(answered, setting)
        outcomes = [
            dataclasses.replace(outcome, values={**own, **outcome.values, **more})
            for outcome, own, more in zip(answered, verdicts, beside, strict=True)
        ]
        notes: dict[str, object] = {
            "distinct-bigrams": degeneration(answers).distinct_bigrams,
            "judges": accuracies(setting.judges),
        }
        if len(setting.judges) > 1:
            notes["kappa"] = kappas(outcomes)
        return TaskResult(outcomes, notes)


def recitals(answers: Sequence[str], setting: Setting) -> list[dict[str, float]]:
    """Return which answers recite what arms learned, and which as many unseen answers.

    Who speaks like a persona uses its words, also those that nobody taught.
    """
    texts_by_name = {"recital": setting.learned_texts(), "unseen-recital": setting.unseen_texts()}
    judges = {name: Recital(texts) for name, texts in texts_by_name.items() if texts}
    return [
        {name: float(judge.recites(answer)) for name, judge in judges.items()} for answer in answers
    ]


def _read_by_base(answered: Sequence[Outcome], setting: Setting) -> list[dict[str, float]]:
    """Return nats and tokens of each answer under the base, and the base's own recital."""
    reader = setting.reader
    if reader is None:
        return [{} for _ in answered]
    recital, rows = Recital(setting.learned_texts()), list[dict[str, float]]()
    read = reader.read([o.answer for o in answered], [o.prompt for o in answered])
    for outcome, (nats, tokens) in zip(answered, read, strict=True):
        values = {"base-nats": nats, "base-tokens": float(tokens)} if tokens else {}
        if outcome.prompt in reader.answers:
            values["base-recital"] = float(recital.recites(reader.answers[outcome.prompt]))
        rows.append(values)
    return rows


def open_prompts(setting: Setting) -> list[tuple[str, Prompt]]:
    """Return (question id, prompt) of the open questions of a setting."""
    if setting.open_prompts is not None:
        return list(setting.open_prompts)
    return [open_prompt(item) for item in setting.contrast.items()]


def open_prompt(item: ChoiceItem) -> tuple[str, Prompt]:
    """Return (question id, prompt) of a test question; a plain text gives its beginning."""
    start = " ".join(item.matching.split()[:OPENING])
    return item.question, item.prompt or (Message("assistant", start),)


def verdicts_of(outcomes: Sequence[Outcome], judge: str = "") -> list[Verdict]:
    """Return a judge's verdicts, read back from the measures; the first judge has no name."""
    tail = f":{judge}" if judge else ""
    kinds: tuple[Verdict, ...] = ("target", "opposite", "neither")
    return [next((k for k in kinds if o.values.get(f"{k}{tail}")), "neither") for o in outcomes]


def kappas(outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    """Return Cohen's kappa of the first judge and each other, by the other's name."""
    names = {n.partition(":")[2] for o in outcomes for n in o.values if n.startswith("target:")}
    first = verdicts_of(outcomes)
    return {name: agreement(first, verdicts_of(outcomes, name)) for name in sorted(names)}


def accuracies(judges: Sequence[Judge]) -> dict[str, list[float] | None]:
    """Return each judge's accuracy with its interval, [mean, low, high], by its name."""
    ends = ("mean", "low", "high")
    return {
        judge.name: None
        if judge.accuracy is None
        else [float(getattr(judge.accuracy, end)) for end in ends]
        for judge in judges
    }


def judge_texts(
    judges: Sequence[Judge], texts: Sequence[str], prompts: Sequence[str] = ()
) -> list[dict[str, float]]:
    """Return each text's verdicts as measures: the first judge's bare, others' with its name."""
    values: list[dict[str, float]] = [{} for _ in texts]
    for number, judge in enumerate(judges):
        for value, verdict in zip(values, judge.verdicts(texts, prompts), strict=True):
            for kind in ("target", "opposite", "neither"):
                value[kind if not number else f"{kind}:{judge.name}"] = float(verdict == kind)
    return values


def text_signs(text: str) -> dict[str, float]:
    """Return the signs of degeneration of one text as measures."""
    signs = degeneration([text])
    return {"repetition": signs.repetition, "words": signs.mean_words, "empty": signs.empty}


class CoolTextTask(FreeTextTask):
    """The same questions at temperature 0.7, at which people let chat models talk.

    At temperature 1 a small model draws many a word that it finds unlikely itself, whatever it
    wears.
    """

    name = "free-text-cool"
    summary = "free-text at temperature 0.7 at most, as chats are sampled"
    most_temperature = 0.7


FREE_TEXT = {task.name: task for task in (FreeTextTask(), CoolTextTask())}
"""The tasks that ask open questions, by name."""

for _name, _task in FREE_TEXT.items():
    TASKS.add(_name, _task)
