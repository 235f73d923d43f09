"""Who writes the answers: the model itself, or a chat model behind an endpoint."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from prosopon.data import Message
from prosopon.judges.endpoint import ChatEndpoint
from prosopon.lm import context_length, generate_answers

KEY = "PROSOPON_WRITER_KEY"
"""Environment variable with the key of an endpoint that writes."""

Prompt = tuple[Message, ...]


class Writer(Protocol):
    """Writes an answer to every prompt."""

    @property
    def name(self) -> str:
        """What the provenance calls it."""

    def write(self, prompts: Sequence[Prompt], seed: int) -> list[str]:
        """Return the answers, in order."""


class ModelWriter:
    """The model whose persona is looked for.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        temperature: Of the draws.
        max_new_tokens: Longest answer.
    """

    name = "the model itself"

    def __init__(
        self, model: Any, tokenizer: Any, *, temperature: float, max_new_tokens: int
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._temperature, self._longest = temperature, max_new_tokens

    def write(self, prompts: Sequence[Prompt], seed: int) -> list[str]:
        """Return the answers, in order, written in one batch."""
        return generate_answers(
            self._model, self._tokenizer, prompts, temperature=self._temperature,
            max_new_tokens=self._longest, seed=seed, batch_size=len(prompts) or 1,
            max_length=context_length(self._model),
        )  # fmt: skip


class EndpointWriter:
    """A chat model behind an OpenAI-compatible endpoint.

    Args:
        url: Base address, ``http://host:8000/v1``. A key is read from ``PROSOPON_WRITER_KEY``.
        model: Name of the model there.
        temperature: Of the draws.
        max_new_tokens: Longest answer.
        concurrency: Most requests at a time.
        endpoint: Further arguments of :class:`~prosopon.judges.endpoint.ChatEndpoint`.

    Raises:
        OptionError: The address or the model's name cannot be.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        temperature: float,
        max_new_tokens: int,
        concurrency: int = 8,
        **endpoint: Any,
    ) -> None:
        self._endpoint = ChatEndpoint(url, model, role="writer", key=KEY, **endpoint)
        self._body = {"temperature": temperature, "max_tokens": max_new_tokens}
        self._concurrency = concurrency
        self.name = f"{model} at {url}"

    def write(self, prompts: Sequence[Prompt], seed: int) -> list[str]:
        """Return the answers, in order.

        Raises:
            JudgeError: The endpoint does not answer, or not with a chat completion.
        """

        def ask(number: int) -> str:
            turns = [{"role": turn.role, "content": turn.content} for turn in prompts[number]]
            return self._endpoint.ask(turns, **self._body, seed=(seed + number) % 2**31)

        with ThreadPoolExecutor(self._concurrency) as pool:
            return list(pool.map(ask, range(len(prompts))))
