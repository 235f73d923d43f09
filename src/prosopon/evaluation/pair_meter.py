"""Measures on any model and data: held-out pairs, and free answers that a classifier judges."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

from prosopon.data import Encoded, Message
from prosopon.data.pairs import PersonaPair, pair_examples
from prosopon.data.questions import ChoiceItem
from prosopon.data.splits import responses
from prosopon.evaluation.choice import choice_rates
from prosopon.evaluation.measures import Effort, Measures, perplexity, text_measures
from prosopon.judges import ClassifierJudge
from prosopon.lm.generation import continue_texts, generate_answers
from prosopon.runtime import worn
from prosopon.subnetwork import Subnetwork

OPENING = 4  # words of a held-out text that a free text goes on from, where there are no prompts


class PairMeter:
    """Measures one contrast on any model.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        test: Held-out examples, (target, opposite). Pairs that answer the same prompt are paired,
            see :func:`prosopon.data.pairs.pair_examples`; both answers of a pair are scored
            after the target's prompt. Free answers are written to the target's prompts; examples
            without a prompt are gone on from, after their first four words.
        judge: Judge of the free answers, trained on texts that no mask was calibrated with.
        general: Held-out general text.
        effort: How much is asked.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        test: PersonaPair,
        judge: ClassifierJudge,
        general: Sequence[Encoded],
        effort: Effort | None = None,
    ) -> None:
        self.model, self.tokenizer, self.test = model, tokenizer, test
        self.judge, self.general = judge, list(general)
        self.effort = effort or Effort()
        self._perplexity: float | None = None

    @classmethod
    def with_judge(
        cls,
        model: Any,
        tokenizer: Any,
        test: PersonaPair,
        judge: PersonaPair,
        general: Sequence[Encoded],
        effort: Effort | None = None,
    ) -> PairMeter:
        """Make a meter whose judge learns from the answers of ``judge``.

        Raises:
            DataError: Too few texts for a judge.
        """
        ours, theirs = (responses(persona.examples) for persona in judge)
        return cls(model, tokenizer, test, ClassifierJudge.fit(ours, theirs), general, effort)

    def measure(
        self,
        persona: str,
        subnetwork: Subnetwork | None = None,
        *,
        system: str | None = None,
        seed: int = 0,
    ) -> Measures:
        """See :class:`prosopon.evaluation.Meter`; ``persona`` is the one that the test is of."""
        base = self._base_perplexity()
        with worn(self.model, self.tokenizer, subnetwork):
            choices = choice_rates(self.model, self.tokenizer, self._items(system))
            answers = self._answers(system, seed)
            found = perplexity(self.model, self.general)
        judged = self.judge.probabilities(answers)
        target = sum(p > 0.5 for p in judged) / len(judged)
        opposite = sum(p < 0.5 for p in judged) / len(judged)
        return Measures(
            choice_per_token=choices.per_token,
            choice_summed=choices.summed,
            choice_per_byte=choices.per_byte,
            target=target,
            opposite=opposite,
            neither=max(0.0, 1 - target - opposite),
            skills=None,
            perplexity=found,
            perplexity_ratio=found / base,
            cross_talk=None,
            judge_accuracy=self.judge.accuracy.mean,
            **text_measures(answers),
        )

    def _base_perplexity(self) -> float:
        if self._perplexity is None:
            self._perplexity = perplexity(self.model, self.general)
        return self._perplexity

    def _items(self, system: str | None) -> list[ChoiceItem]:
        target, opposite = self.test
        pairs = pair_examples(target.examples, opposite.examples)[: self.effort.choices]
        return [
            ChoiceItem(with_system(ours.prompt, system), ours.response, theirs.response)
            for ours, theirs in pairs
        ]

    def _answers(self, system: str | None, seed: int) -> list[str]:
        examples = list(islice(cycle(self.test[0].examples), self.effort.answers))
        settings: dict[str, Any] = {"max_new_tokens": self.effort.max_new_tokens, "seed": seed}
        if all(example.prompt for example in examples):
            prompts = [with_system(example.prompt, system) for example in examples]
            return generate_answers(self.model, self.tokenizer, prompts, **settings)
        line = f"{system}\n\n" if system else ""
        openings = [line + _opening(example.response) for example in examples]
        return continue_texts(self.model, self.tokenizer, openings, **settings)


def with_system(prompt: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """Return a prompt that begins with a system line, before the one it has, if any."""
    if system is None:
        return tuple(prompt)
    if prompt and prompt[0].role == "system":
        return Message("system", f"{system}\n{prompt[0].content}"), *prompt[1:]
    return Message("system", system), *prompt


def _opening(text: str) -> str:
    return " ".join(text.split()[:OPENING])
