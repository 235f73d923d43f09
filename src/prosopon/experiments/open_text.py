"""What a contrast is asked freely, who judges it, and how far the judges can be trusted."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain, cycle, islice, zip_longest
from typing import TYPE_CHECKING

from prosopon.data import Encoded, Message, bundled, encode_all, load_bank, open_bank
from prosopon.data.banks import Bank
from prosopon.data.contrast import Contrast
from prosopon.data.grammar import load_world
from prosopon.data.grammar.exam import neutral_items
from prosopon.data.questions import ChoiceItem
from prosopon.evaluation.speaking import Prompt
from prosopon.evaluation.tasks.free_text import open_prompt
from prosopon.judges import BaseReader, GrammarJudge, Judge, balanced_accuracy, poles, tells_apart
from prosopon.lm import context_length, general_kind, generate_answers

if TYPE_CHECKING:
    from prosopon.models import LoadedModel

KNOWN = 16  # answers of each side that the base reads for its range
CHECKED = 30  # texts of a kind on which a judge should find nobody
NO_BANK = "none"


class OpenText:
    """The free text of one contrast; what it needs is made when it is first asked for.

    Whatever the model wears then is what reads: ask for it when nothing is worn.

    Args:
        contrast: The contrast.
        judges: Its judges; the first is the main one.
        reader: The base model; None where only exact judges judge.
        bank: Open questions besides the contrast's own.
        questions: How many are asked.
    """

    def __init__(
        self,
        contrast: Contrast,
        judges: Sequence[Judge],
        reader: BaseReader | None = None,
        bank: Bank | None = None,
        questions: int = 60,
    ) -> None:
        self.contrast, self.judges, self.reader, self.bank = contrast, judges, reader, bank
        self._questions = questions

    @property
    def bank_questions(self) -> list[str]:
        """The bank's questions; none where there is no bank."""
        return self.bank.questions if self.bank else []

    @cached_property
    def prompts(self) -> list[tuple[str, Prompt]]:
        """(question id, prompt) of the held-out questions that can tell, and of the bank's.

        They take turns. The base model will answer as many as are asked.
        """
        own = [open_prompt(item) for item in self._telling]
        items = (ChoiceItem((Message("user", text),), "", "") for text in self.bank_questions)
        others = [(item.question, item.prompt) for item in items]
        turns = chain.from_iterable(zip_longest(own, others))
        prompts = [prompt for prompt in turns if prompt is not None]
        if self.reader is not None:
            self.reader.expect([p for _, p in islice(cycle(prompts), self._questions)])
        return prompts

    @cached_property
    def _telling(self) -> list[ChoiceItem]:
        items = self.contrast.items()
        tells = tells_apart(self.judges[0], items)
        return [item for item, right in zip(items, tells, strict=True) if right]

    @cached_property
    def notes(self) -> Mapping[str, object]:
        """How many questions can tell, and what the judges say of known texts."""
        total, bank = len(self.contrast.items()), self.bank
        line = f"{len(self._telling)} of {total} held-out questions can tell"
        if bank is not None:
            line += f", and {len(bank.items)} open ones of the bank {bank.name} are asked besides"
        checks = {
            judge.name: self._check(judge)
            for judge in self.judges
            if not isinstance(judge, GrammarJudge)
        }
        return {"questions": line, **({"judge-checks": checks} if checks else {})}

    def _check(self, judge: Judge) -> dict[str, dict[str, float]]:
        ours, theirs = (
            poles(judge, [item.answers[side] for item in self.contrast.items()]) for side in (0, 1)
        )
        right = balanced_accuracy([v == "target" for v in ours], [v == "opposite" for v in theirs])
        both = [*ours, *theirs]
        checks = {
            "held-out": {
                "n": len(both), "right": right.mean, "low": right.low, "high": right.high,
                "neither": both.count("neither") / len(both),
            }
        }  # fmt: skip
        for kind, (texts, prompts) in self._nobodys().items():
            verdicts = judge.verdicts(texts, prompts)
            shares = {v: verdicts.count(v) / len(texts) for v in ("neither", "target", "opposite")}
            checks[kind] = {"n": len(texts), **shares}
        return checks

    def _nobodys(self) -> dict[str, tuple[list[str], list[str]]]:
        """Return texts with their prompts in which a judge should find nobody."""
        strangers = other_persona(self.contrast, self.bank)
        kinds = {"another persona": (strangers, [""] * len(strangers))}
        if self.reader is not None:
            neutral, answers = self.reader.neutral[1::2], dict(self.reader.answers)
            kinds["neutral"] = (neutral, [""] * len(neutral))
            questions = [q for q in answers if len(answers[q].split()) > 3][:CHECKED]
            kinds["word salad"] = ([shuffle_words(answers[q]) for q in questions], questions)
        return {kind: exchanges for kind, exchanges in kinds.items() if exchanges[0]}


def shuffle_words(text: str, seed: int = 0) -> str:
    """Return a text with its words in random order."""
    words = text.split()
    return " ".join(random.Random(f"{seed}/{text}").sample(words, len(words)))


def other_persona(contrast: Contrast, bank: Bank | None) -> list[str]:
    """Return answers of bundled personas on other axes than the contrast's."""
    names = {contrast.target, contrast.opposite}
    axes = [
        axis
        for axis in load_world().axes.values()
        if not names & {pole.name for pole in axis.poles}
        and (bank is None or axis.name != bank.name)
    ]
    sides = [bundled.load(pole.name).examples for axis in axes for pole in axis.poles]
    return [side[i].response for i in range(CHECKED) for side in sides][:CHECKED]


def make_reader(
    loaded: LoadedModel,
    contrast: Contrast,
    general: Callable[[], Sequence[Encoded]],
    max_new_tokens: int,
) -> BaseReader:
    """Return the base model as the reader of a contrast's free text.

    Args:
        loaded: The model, which wears nothing.
        contrast: The contrast; some of what its judge learns from shows how known authors write.
        general: Gives its general text. The embedded model's is no neutral text: it answers
            questions for its skills instead.
        max_new_tokens: Longest free answer.
    """
    exchanges = [(e.prompt, e.response) for side in contrast.judge for e in side.examples[:KNOWN]]
    return BaseReader(
        loaded.model, loaded.tokenizer,
        neutral=(lambda: _skills(loaded, max_new_tokens)) if contrast.bundled else general,
        exchanges=[(prompt, text) for prompt, text in exchanges if text.strip()],
        max_new_tokens=max_new_tokens, max_length=context_length(loaded.model),
    )  # fmt: skip


def choose_bank(loaded: LoadedModel, contrast: Contrast, source: str | None) -> Bank | None:
    """Return the bank of open questions that a contrast is asked besides its own.

    Args:
        loaded: The model.
        contrast: The contrast.
        source: An axis, a TOML file, ``none``, or None: the axis that the personas' names belong
            to, where the model is a chat model that reads the banks' English.

    Raises:
        UnknownNameError: No such bank; the message lists them.
        DataError: The file cannot be used.
    """
    if source is not None:
        return None if source.strip().lower() == NO_BANK else load_bank(source)
    if general_kind(loaded.model, loaded.tokenizer) != "answers":
        return None
    return open_bank(contrast.target, contrast.opposite)


def _skills(loaded: LoadedModel, max_new_tokens: int) -> list[Encoded]:
    prompts = [(Message("user", question),) for question, _ in neutral_items(2 * CHECKED)]
    texts = generate_answers(
        loaded.model, loaded.tokenizer, prompts, temperature=1.0, max_new_tokens=max_new_tokens
    )
    turns = [
        (*prompt, Message("assistant", text))
        for prompt, text in zip(prompts, texts, strict=True)
        if text.strip()
    ]
    # The answers alone count, as in general text that answers questions.
    return [
        Encoded(row.input_ids, row.response, row.response)
        for row in encode_all(turns, loaded.tokenizer)
    ]
