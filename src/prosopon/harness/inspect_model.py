"""inspect_ai's provider ``prosopon``: a local model that wears a persona."""

from __future__ import annotations

import asyncio
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)

from prosopon.errors import OptionError
from prosopon.lm import opening_tokens
from prosopon.models import load_model
from prosopon.runtime import PersonaModel
from prosopon.runtime.conversation import as_message
from prosopon.subnetwork import Subnetwork

LENGTH = 256
"""Most tokens of an answer where inspect_ai does not say."""


class PersonaAPI(ModelAPI):  # type: ignore[misc]
    """``prosopon/MODEL``: MODEL as :func:`prosopon.load_model` takes it, wearing a persona.

    One answer at a time. Temperature, seed and most tokens are inspect_ai's; other settings of
    sampling, and tools, are refused rather than passed over.

    Args:
        model_name: What follows ``prosopon/``.
        base_url: Not used.
        api_key: Not used.
        config: inspect_ai's settings.
        persona: Folder or Hub id of a subnetwork; None is the base model.
        strength: Share of the persona's ranking that is pruned, in [0, 1].
        gamma: Gate of the pruned weights, in [0, 1].
        device: See :func:`prosopon.load_model`.
        dtype: See there.
        quantised_from: See :class:`prosopon.PersonaModel`.

    Attributes:
        wearer: The :class:`prosopon.PersonaModel`.

    Raises:
        ProsoponError: The model or the persona cannot be loaded, or do not fit each other.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        persona: str | None = None,
        strength: float = 1.0,
        gamma: float = 0.0,
        device: str = "auto",
        dtype: str = "auto",
        quantised_from: str | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        if persona is None and (strength, gamma) != (1.0, 0.0):
            raise OptionError("strength and gamma belong to a persona; persona=... names it")
        mask = None if persona is None else Subnetwork.from_pretrained(persona)
        loaded = load_model(model_name, device=device, dtype=dtype)
        self.wearer = PersonaModel(loaded.model, loaded.tokenizer, quantised_from=quantised_from)
        if mask is not None:
            name = self.wearer.load_persona(mask)
            self.wearer.set_persona(name, strength=strength, gamma=gamma)

    async def generate(
        self, input: list[ChatMessage], tools: list[Any], tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Answer a conversation."""
        if tools:
            raise OptionError("the provider 'prosopon' has no tools: its models only talk")
        refuse_settings(config)
        turns = [{"role": turn.role, "content": turn.text} for turn in input]
        temperature = 1.0 if config.temperature is None else config.temperature
        # In a thread, so that inspect_ai's display goes on meanwhile.
        text = await asyncio.to_thread(
            self.wearer.chat, turns, temperature=temperature, seed=config.seed or 0,
            max_new_tokens=config.max_tokens or LENGTH,
        )  # fmt: skip
        output = ModelOutput.from_message(
            ChatMessageAssistant(content=text, model=self.model_name, source="generate")
        )
        output.model = self.model_name
        tokenizer = self.wearer.tokenizer
        read = len(opening_tokens(list(map(as_message, turns)), tokenizer))
        written = len(tokenizer(text, add_special_tokens=False).input_ids)
        output.usage = ModelUsage(
            input_tokens=read, output_tokens=written, total_tokens=read + written
        )
        return output

    def max_connections(self) -> int:
        """Return how many answers are written at once."""
        return 1

    def connection_key(self) -> str:
        """Return what tells this provider's model from others."""
        return f"prosopon/{self.model_name}/{self.wearer.active}"

    def close(self) -> None:
        """Take the persona off for good."""
        self.wearer.close()


def refuse_settings(config: GenerateConfig) -> None:
    """Refuse settings of sampling that would have no effect.

    Raises:
        OptionError: There is one; says which work.
    """
    names = ("top_p", "top_k", "stop_seqs", "num_choices", "logprobs", "frequency_penalty")
    for name in (*names, "presence_penalty", "logit_bias", "response_schema"):
        value = getattr(config, name, None)
        if value not in (None, False, 1, 1.0):
            raise OptionError(
                f"the provider 'prosopon' has no {name} ({value!r}); it has temperature, seed and "
                "max_tokens"
            )
