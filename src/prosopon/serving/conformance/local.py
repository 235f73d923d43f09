"""What the personas say here: greedy answers of the model that wears them, as replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prosopon.data import Message
from prosopon.serving.conformance.client import TOP, Reply, ScoredToken

if TYPE_CHECKING:
    from prosopon.subnetwork import Subnetwork


class LocalModel:
    """The model with its personas, in this process. Use it as a context manager.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        masks: Masks by persona.

    Raises:
        SubnetworkError: A mask belongs to another model.
    """

    def __init__(self, model: Any, tokenizer: Any, masks: Mapping[str, Subnetwork]) -> None:
        from prosopon.runtime import PersonaModel

        self._wearer = PersonaModel(model, tokenizer)
        try:
            for name, mask in masks.items():
                self._wearer.load_persona(mask, name)
        except BaseException:
            self._wearer.close()
            raise

    def replies(
        self, persona: str | None, texts: Sequence[str], *, route: str, max_tokens: int
    ) -> list[Reply]:
        """Return what a persona, or the base, answers to texts, in order.

        Args:
            persona: Who; None for the base.
            texts: What a user says; or, for the route ``completions``, what is gone on from.
            route: See :data:`~prosopon.serving.conformance.client.ROUTES`.
            max_tokens: Longest answer.
        """
        from prosopon.lm.generation import generate_tokens, opening_tokens, text_tokens
        from prosopon.runtime.conversation import as_prompt

        model, tokenizer = self._wearer.model, self._wearer.tokenizer
        prompts = [
            text_tokens(text, tokenizer)
            if route == "completions"
            else opening_tokens(as_prompt([Message("user", text)], tokenizer), tokenizer)
            for text in texts
        ]
        with self._wearer.persona(persona):
            written = generate_tokens(
                model, tokenizer, prompts, temperature=0, max_new_tokens=max_tokens
            )
            return [
                self._score(prompt, answer) for prompt, answer in zip(prompts, written, strict=True)
            ]

    def __enter__(self) -> LocalModel:
        return self

    def __exit__(self, *_: object) -> None:
        self._wearer.close()

    def _score(self, prompt: Sequence[int], answer: Sequence[int]) -> Reply:
        """Read an answer once more, as a whole, for its log probabilities."""
        import torch

        from prosopon.lm.streaming import end_tokens

        model: Any = self._wearer.model
        tokenizer = self._wearer.tokenizer
        ended = bool(answer) and answer[-1] in end_tokens(model, tokenizer)
        answer = answer[:-1] if ended else answer
        ids = torch.tensor([[*prompt, *answer]], device=next(model.parameters()).device)
        with torch.no_grad():
            logs = model(ids).logits[0, len(prompt) - 1 :].double().log_softmax(-1).cpu()
        tokens = []
        for token, row in zip(answer, logs, strict=False):
            values, likely = row.topk(min(TOP, len(row)))
            top: dict[str, float] = {}
            for value, other in zip(values.tolist(), likely.tolist(), strict=True):
                top.setdefault(tokenizer.decode([other]), value)
            tokens.append(ScoredToken(tokenizer.decode([token]), float(row[token]), top))
        text: str = tokenizer.decode(answer, skip_special_tokens=True)
        return Reply(text, "stop" if ended else "length", tuple(tokens))
