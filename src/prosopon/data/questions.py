"""Questions with two answers: the target's and the opposite's."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from prosopon.data.examples import Example, Message
from prosopon.data.openings import answer, shared_opening
from prosopon.data.pairs import pair_examples


@dataclass(frozen=True)
class ChoiceItem:
    """A prompt with an answer that matches the persona and one that does not."""

    prompt: tuple[Message, ...]  # what is asked; the shared beginning of two plain texts
    matching: str  # the target's answer
    not_matching: str  # the opposite's

    @property
    def question(self) -> str:
        """Id of what is asked, whichever side is the target and whatever is answered.

        Items of one prompt are no independent evidence, so they share it; plain texts without a
        common beginning are told apart by their answers.
        """
        texts = [prompt_text(self.prompt)] if self.prompt else sorted(self.answers)
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]

    @property
    def answers(self) -> tuple[str, str]:
        """Both answers, the matching one first."""
        return self.matching, self.not_matching


def choice_item(target: Example, opposite: Example) -> ChoiceItem:
    """Return a pair of examples as one question; a shared beginning of plain texts is asked."""
    opening = shared_opening(target, opposite)
    prompt = (Message("assistant", opening),) if opening else target.prompt
    return ChoiceItem(prompt, answer(target, opening), answer(opposite, opening))


def paired_items(target: Sequence[Example], opposite: Sequence[Example]) -> list[ChoiceItem]:
    """Return the questions of two sides, each once: examples with their alternatives, or pairs."""
    if all(example.alternative for example in target):
        items = [choice_item(example, example.swapped()) for example in target]
    else:
        items = [choice_item(*pair) for pair in pair_examples(target, opposite)]
    unique = {(item.prompt, *sorted(item.answers)): item for item in items}
    return list(unique.values())


def prompt_text(prompt: Sequence[Message]) -> str:
    """Return a prompt as people read it in a report."""
    if len(prompt) == 1:
        return prompt[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in prompt)
