"""Measures on the embedded model, where the grammar that taught it judges its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prosopon.data import Encoded
from prosopon.data.bundled import opposite
from prosopon.data.grammar import load_world
from prosopon.data.grammar.exam import choice_items, free_prompts, neutral_items
from prosopon.evaluation.choice import choice_rates
from prosopon.evaluation.grammar_tasks import free_text, neutral_accuracy
from prosopon.evaluation.measures import Effort, Measures, perplexity, text_measures
from prosopon.lm.generation import generate_answers
from prosopon.runtime import worn
from prosopon.subnetwork import Subnetwork


class GrammarMeter:
    """Measures bundled personas on a model that speaks the grammar.

    What the base does is measured once, without a mask, and kept.

    Args:
        model: The embedded model.
        tokenizer: Its tokenizer.
        general: Held-out general text, not the text that any mask was calibrated with.
        effort: How much is asked.
    """

    def __init__(
        self, model: Any, tokenizer: Any, general: Sequence[Encoded], effort: Effort | None = None
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.general, self.effort = list(general), effort or Effort()
        self._perplexity: float | None = None
        self._rates: dict[tuple[str, int], float] = {}

    def measure(
        self,
        persona: str,
        subnetwork: Subnetwork | None = None,
        *,
        system: str | None = None,
        seed: int = 0,
    ) -> Measures:
        """See :class:`prosopon.evaluation.Meter`.

        Raises:
            UnknownNameError: The persona is not bundled.
        """
        base, base_rates = self._base_perplexity(), self._base_rates(persona, seed)
        effort = self.effort
        with worn(self.model, self.tokenizer, subnetwork):
            choices = choice_rates(
                self.model,
                self.tokenizer,
                choice_items(persona, effort.choices, seed=seed, system=system),
            )
            answers = generate_answers(
                self.model,
                self.tokenizer,
                free_prompts(persona, effort.answers, seed=seed, system=system),
                max_new_tokens=effort.max_new_tokens,
                seed=seed,
            )
            shares = free_text(answers, persona, opposite(persona))
            rates = {axis: self._rate(axis, seed, system) for axis in base_rates}
            found = perplexity(self.model, self.general)
            skills = neutral_accuracy(
                self.model, self.tokenizer, neutral_items(effort.neutral, seed=seed), system=system
            )
        changes = [abs(rates[axis] - base_rates[axis]) for axis in base_rates]
        return Measures(
            choice_per_token=choices.per_token,
            choice_summed=choices.summed,
            choice_per_byte=choices.per_byte,
            target=shares.target,
            opposite=shares.opposite,
            neither=shares.neither,
            skills=skills,
            perplexity=found,
            perplexity_ratio=found / base,
            cross_talk=sum(changes) / len(changes),
            judge_accuracy=None,
            **text_measures(answers),
        )

    def _base_perplexity(self) -> float:
        if self._perplexity is None:
            self._perplexity = perplexity(self.model, self.general)
        return self._perplexity

    def _base_rates(self, persona: str, seed: int) -> dict[str, float]:
        """Return the base's choice rate on every axis but the persona's own."""
        world = load_world()
        others = [axis for axis in world.axes if axis != world.pole(persona).axis]
        for axis in others:
            if (axis, seed) not in self._rates:
                self._rates[axis, seed] = self._rate(axis, seed, None)
        return {axis: self._rates[axis, seed] for axis in others}

    def _rate(self, axis: str, seed: int, system: str | None) -> float:
        # One pole says it all: the other one's rate is one minus this.
        pole = load_world().axes[axis].poles[0].name
        items = choice_items(pole, self.effort.cross, seed=seed, system=system)
        return choice_rates(self.model, self.tokenizer, items).per_token
