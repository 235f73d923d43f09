"""Prompts with something before them: a line, or examples as earlier turns. Pure."""

from collections.abc import Callable, Sequence
from typing import Any

from prosopon.data import Example, Message
from prosopon.data.chat import with_system
from prosopon.data.openings import is_plain, plain_text
from prosopon.errors import OptionError
from prosopon.evaluation.speakers import prompt_length
from prosopon.evaluation.speaking import Prompt


def put_before(prompt: Prompt, text: str) -> Prompt:
    """Return a prompt with ``text`` before it.

    As the system line, before one that is there; a plain text gets it as a paragraph.
    """
    if is_plain(prompt):
        return (Message("assistant", f"{text}\n\n{plain_text(prompt)}"),)
    return with_system(prompt, text)


def show_before(prompt: Prompt, examples: Sequence[Example]) -> Prompt:
    """Return a prompt with examples before it, in their order.

    As earlier turns, after the prompt's own system line; the examples' system lines are left
    out. Where the prompt or an example is plain text, the answers alone stand before it.
    """
    if not examples:
        return prompt
    if is_plain(prompt) or not all(example.prompt for example in examples):
        return put_before(prompt, "\n\n".join(example.response for example in examples))
    system = [turn for turn in prompt if turn.role == "system"]
    question = [turn for turn in prompt if turn.role != "system"]
    earlier = [t for example in examples for t in example.messages if t.role != "system"]
    return (*system, *earlier, *question)


class ShowExamples:
    """A rewrite that shows examples before every prompt, as many as the context has room for.

    Args:
        choose: Returns the examples for a prompt, the most dispensable first.
        tokenizer: Counts tokens.
        limit: Most tokens of the whole prompt; None is no limit. Examples go, the first one
            first, until it fits.
    """

    def __init__(
        self,
        choose: Callable[[Prompt], Sequence[Example]],
        tokenizer: Any,
        limit: int | None,
    ) -> None:
        self._choose, self._tokenizer, self._limit = choose, tokenizer, limit
        self._fitted: dict[Prompt, Prompt] = {}

    def check(self, examples: Sequence[Example]) -> None:
        """Refuse to show nothing.

        Raises:
            OptionError: There is no room for a single example before what any of ``examples``
                asks (or says, where nobody asks).
        """
        prompts = [example.prompt or example.messages for example in examples]
        if not any(self(prompt) != prompt for prompt in prompts):
            raise OptionError(
                f"no example fits beside a question within {self._limit} tokens: lower room, or "
                "take a model with a longer context"
            )

    def __call__(self, prompt: Prompt) -> Prompt:
        """Return the prompt with examples before it."""
        if prompt not in self._fitted:
            self._fitted[prompt] = self._fit(prompt)
        return self._fitted[prompt]

    def _fit(self, prompt: Prompt) -> Prompt:
        examples = list(self._choose(prompt))
        shown = show_before(prompt, examples)
        while examples and self._limit and prompt_length(shown, self._tokenizer) > self._limit:
            examples = examples[1:]
            shown = show_before(prompt, examples)
        return shown


def text_bytes(examples: Sequence[Example]) -> int:
    """Return the size of the examples' messages in UTF-8."""
    return sum(len(turn.content.encode()) for example in examples for turn in example.messages)
