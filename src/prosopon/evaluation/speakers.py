"""Speakers: a model as it is, behind a rewritten prompt, or a rule that reads nothing."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from prosopon.data import Encoded, Message
from prosopon.data.openings import is_plain
from prosopon.errors import OptionError
from prosopon.evaluation.speaking import (
    NORMALISATIONS,
    Normalisation,
    OptionQuestion,
    OptionScores,
    Prompt,
)
from prosopon.lm import context_length, opening_tokens, row_log_likelihoods
from prosopon.lm.answers import AnswerScore, score_answers
from prosopon.lm.generation import generate_answers

Rewrite = Callable[[Prompt], Prompt]
"""What an arm makes of a prompt: a system line, earlier turns, retrieved passages before it."""

Rule = Callable[[Sequence[str]], Sequence[float]]
"""Scores of options by nothing but their own text; equal scores are a tie."""

NOTHING: Prompt = (Message("user", ""),)
"""The empty question, after which an answer's unconditional likelihood is taken."""


class ModelSpeaker:
    """A causal LM that answers, with a rewritten prompt where the arm has one.

    What the model wears when a method is called is what speaks. The ``calibrated`` score is
    log p(answer | prompt) less log p(answer | the rewrite of an empty question), or, for plain
    text, less that after the rewrite of an empty text (Zhao et al. 2021; Holtzman et al. 2021).

    Args:
        model: A causal LM; its weights are only read.
        tokenizer: Its fast tokenizer.
        rewrite: What is made of every prompt before the model reads it.
        max_tokens: Most tokens, padding included, in one forward pass.
        max_length: Longest prompt with answer; longer ones lose their beginning. Default the
            model's context.
    """

    writes = True

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        rewrite: Rewrite | None = None,
        *,
        max_tokens: int = 2048,
        max_length: int | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.max_tokens = max_tokens
        self.max_length = max_length or context_length(model)
        self._rewrite = rewrite

    def rewritten(self, prompt: Prompt) -> Prompt:
        """Return what the model reads instead of ``prompt``."""
        return prompt if self._rewrite is None else self._rewrite(prompt)

    def score(self, questions: Sequence[OptionQuestion]) -> list[OptionScores]:
        """Return the scores of every question's options, in order.

        Raises:
            DataError: An option has no tokens.
        """
        scores = iter(
            self._scores((self.rewritten(q.prompt), o) for q in questions for o in q.options)
        )
        priors = iter(
            self._scores(
                (self._unasked(q.prompt), o) for q in questions if q.calibrate for o in q.options
            )
        )
        return [
            _option_scores(
                list(islice(scores, len(question.options))),
                list(islice(priors, len(question.options))) if question.calibrate else [],
            )
            for question in questions
        ]

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        temperature: float = 1.0,
        max_new_tokens: int = 48,
        seed: int = 0,
    ) -> list[str]:
        """Return a free answer to each prompt, in order.

        Raises:
            DataError: A prompt cannot be rendered.
            OptionError: The answers leave no room for prompts.
        """
        return generate_answers(
            self.model,
            self.tokenizer,
            [self.rewritten(prompt) for prompt in prompts],
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
            max_length=self.max_length,
        )

    def losses(self, texts: Sequence[Encoded]) -> list[tuple[float, int]]:
        """Return (nats, predicted tokens) of each text, in order."""
        rows = row_log_likelihoods(self.model, texts, every=True, max_tokens=self.max_tokens)
        return [(-total, count) for total, count in rows]

    def added_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """Return how many tokens the rewrite adds to each prompt."""
        if self._rewrite is None:
            return [0] * len(prompts)
        lengths = [
            [prompt_length(read, self.tokenizer) for read in (self.rewritten(prompt), prompt)]
            for prompt in prompts
        ]
        return [after - before for after, before in lengths]

    def _unasked(self, prompt: Prompt) -> Prompt:
        return self.rewritten((Message("assistant", ""),) if is_plain(prompt) else NOTHING)

    def _scores(self, pairs: Iterable[tuple[Prompt, str]]) -> list[AnswerScore]:
        """Score every different pair once."""
        items = list(pairs)
        if not items:
            return []
        distinct = list(dict.fromkeys(items))
        scores = score_answers(
            self.model, self.tokenizer, distinct,
            max_tokens=self.max_tokens, max_length=self.max_length,
        )  # fmt: skip
        by_pair = dict(zip(distinct, scores, strict=True))
        return [by_pair[item] for item in items]


def prompt_length(prompt: Prompt, tokenizer: Any) -> int:
    """Return how many tokens a model reads before it answers."""
    return len(opening_tokens(prompt, tokenizer))


class RuleSpeaker:
    """Answers by a rule over the options alone: what a task gives away without any model.

    Args:
        name: Of the rule, for messages.
        rule: Scores of a question's options.
    """

    writes = False

    def __init__(self, name: str, rule: Rule) -> None:
        self.name, self.rule = name, rule

    def score(self, questions: Sequence[OptionQuestion]) -> list[OptionScores]:
        """Return the rule's scores, the same under every normalisation."""
        results = []
        for question in questions:
            scores = tuple(float(score) for score in self.rule(question.options))
            results.append(OptionScores(dict.fromkeys(NORMALISATIONS, scores)))
        return results

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        temperature: float = 1.0,
        max_new_tokens: int = 48,
        seed: int = 0,
    ) -> list[str]:
        """Refuse, with an OptionError."""
        raise OptionError(f"the rule {self.name!r} chooses between options and cannot write")

    def losses(self, texts: Sequence[Encoded]) -> list[tuple[float, int]]:
        """Refuse, with an OptionError."""
        raise OptionError(f"the rule {self.name!r} chooses between options and cannot read texts")

    def added_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """Return zeros."""
        return [0] * len(prompts)


def _option_scores(scores: Sequence[AnswerScore], priors: Sequence[AnswerScore]) -> OptionScores:
    """Return an option's scores; ``calibrated`` only where there are priors."""
    by: dict[Normalisation, tuple[float, ...]] = {
        "summed": tuple(score.total for score in scores),
        "per-token": tuple(score.total / score.tokens for score in scores),
        "per-byte": tuple(score.total / score.size for score in scores),
    }
    if priors:
        pairs = zip(scores, priors, strict=True)
        by["calibrated"] = tuple(score.total - prior.total for score, prior in pairs)
    return OptionScores(by)
