"""What the routes do: from the body of a request to rows, and from names to personas."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prosopon.data import Message
from prosopon.errors import OptionError, PersonaError, ProsoponError, UnknownNameError
from prosopon.lm.context import context_length
from prosopon.lm.generation import opening_tokens, text_tokens
from prosopon.models import fingerprint
from prosopon.runtime.conversation import as_prompt
from prosopon.serving.engine import Engine
from prosopon.serving.metrics import Metrics
from prosopon.serving.refusal import Refusal
from prosopon.serving.row import DrawSettings
from prosopon.serving.schemas import ChatBody, CompletionBody, Generation, PersonaBody
from prosopon.serving.shelf import PACK, Shelf
from prosopon.serving.voice import Voice, pruned_share
from prosopon.serving.work import Work
from prosopon.subnetwork.config import portable_name

if TYPE_CHECKING:
    from prosopon.runtime import PersonaModel
    from prosopon.subnetwork import Subnetwork, SubnetworkConfig

BASE = "base"
"""What the bare model can be called besides its own name."""

COMPLETION_TOKENS = 16
"""Most tokens of a completion that names no limit, as OpenAI has it."""


def served_name(name: str | None, model: str) -> str:
    """Return what clients call a model: the name given, or the model's own without its folder.

    Raises:
        OptionError: It is empty or has a colon.
    """
    title = name or portable_name(model)
    if not title or ":" in title:
        raise OptionError(
            f"--name {title!r}: needs a letter, and no colon, which divides it from a persona"
        )
    return title


@dataclass(frozen=True)
class Limits:
    """What one request may take."""

    max_tokens: int = 1024  # most tokens of an answer
    seconds: float = 120.0  # from arrival to the last token


class Service:
    """A model with its personas, as the routes see it.

    Args:
        wearer: The model, which the engine owns from here on.
        name: What the base is called.
        shelf: Where personas are loaded from.
        limits: What one request may take.
        engine: Options of :class:`~prosopon.serving.engine.Engine`.
    """

    def __init__(
        self,
        wearer: PersonaModel,
        name: str,
        shelf: Shelf | None = None,
        limits: Limits | None = None,
        **engine: Any,
    ) -> None:
        self.name, self.shelf, self.limits = name, shelf, limits or Limits()
        self.metrics = Metrics()
        self.engine = Engine(wearer, observe=self.metrics.observe_batch, **engine)
        self.metrics.watch(self.engine, lambda: len(wearer.personas))
        self.sources: dict[str, str] = {}  # what on the shelf, or the Hub, a persona came from
        self.skipped: dict[str, str] = {}  # what could not be loaded at the start, and why
        self.started = int(time.time())
        self.fingerprint = fingerprint(wearer.sites).weights
        self._wearer, self._tokenizer = wearer, wearer.tokenizer
        self._vocabulary = len(wearer.model.get_input_embeddings().weight)  # type: ignore[operator]
        self._context = context_length(wearer.model)
        self._encoding = threading.Lock()  # a tokenizer reads one text at a time

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self._tokenizer

    @property
    def personas(self) -> list[str]:
        """Names of the personas that can be asked for."""
        return self._wearer.personas

    def load_all(self) -> None:
        """Load everything on the shelf, before the engine starts; what fails is skipped."""
        for source in self.shelf.sources if self.shelf else ():
            try:
                for name, mask in self._read(source):
                    self._wearer.load_persona(mask, name)
                    self.sources[name] = _exactly(source, name)
            except ProsoponError as problem:
                self.skipped[source] = str(problem)

    def load(self, source: str, name: str | None = None) -> list[str]:
        """Load what a source holds, all or nothing; waits for the batch that is written.

        Raises:
            UnknownNameError: There is no such source.
            ProsoponError: It is damaged, belongs to another model, or its name is taken.
            Refusal: The server stops.
        """
        masks = list(self._read(source))
        sources = [_exactly(source, title) for title, _ in masks]
        if name is not None:
            if len(masks) > 1:
                raise PersonaError(f"{source}: holds {len(masks)} personas, which have their names")
            masks = [(name, masks[0][1])]

        def load(wearer: PersonaModel) -> str:
            loaded: list[str] = []
            try:
                for title, mask in masks:
                    loaded.append(wearer.load_persona(mask, title))
            except BaseException:
                for title in loaded:
                    wearer.unload_persona(title)
                raise
            return ", ".join(loaded)

        self.engine.load(load).result()
        names = [title for title, _ in masks]
        self.sources |= dict(zip(names, sources, strict=True))
        return names

    def unload(self, name: str) -> None:
        """Forget a persona; waits for the batch that is written.

        Raises:
            UnknownNameError: It is not loaded.
            Refusal: The server stops.
        """
        self.engine.unload(name).result()

    def mask(self, name: str) -> Subnetwork:
        """Read a persona's mask again, from where it was loaded from.

        Raises:
            UnknownNameError: It is not loaded, or gone from there.
            SubnetworkError: It is damaged by now.
        """
        self._wearer.wardrobe.check(name)
        if name not in self.sources:
            raise PersonaError(f"persona {name!r} came from no folder")
        [(_, mask)] = self._read(self.sources[name])
        return mask

    def config(self, name: str) -> SubnetworkConfig:
        """Return where a persona comes from, and what it prunes.

        Raises:
            UnknownNameError: It is not loaded.
        """
        self._wearer.wardrobe.check(name)
        return self._wearer.config(name)

    def models(self) -> list[dict[str, Any]]:
        """Return the base and every persona as openai's models, with what they are made from."""
        own = {"persona": None, "fingerprint": self.fingerprint}
        configs = sorted(dict(self._wearer.wardrobe.configs).items())
        return [self._model_card(self.name, own)] + [
            self._model_card(f"{self.name}:{name}", _origin(name, config))
            for name, config in configs
        ]

    def chat(self, body: ChatBody, work: Work) -> None:
        """Queue the answers to a conversation.

        Raises:
            ProsoponError: See :meth:`_queue`; or the template refuses the conversation.
        """
        roles = {"developer": "system"}
        turns = [Message(roles.get(turn.role, turn.role), turn.text) for turn in body.messages]  # type: ignore[arg-type]
        with self._encoding:
            prompt = opening_tokens(as_prompt(turns, self._tokenizer), self._tokenizer)
        top = (body.top_logprobs or 0) if body.logprobs else None
        most = body.max_completion_tokens or body.max_tokens
        self._queue(body, work, [prompt], most or self.limits.max_tokens, most is None, top, True)

    def complete(self, body: CompletionBody, work: Work) -> None:
        """Queue the continuations of texts or tokens.

        Raises:
            ProsoponError: See :meth:`_queue`.
        """
        most = body.max_tokens or COMPLETION_TOKENS
        self._queue(body, work, self._prompts(body.prompt), most, False, body.logprobs, False)

    def _queue(
        self, body: Generation, work: Work, prompts: Sequence[list[int]], most: int, shrinks: bool,
        top: int | None, trimmed: bool,
    ) -> None:  # fmt: skip
        """Check a request against the limits, and let its rows wait.

        Raises:
            UnknownNameError: There is no such model or persona.
            Refusal: A prompt is too long, an answer may not be that long, or the queue is full.
        """
        voice = self.voice(body.model, body.persona)
        if voice.names and body.activate is not None:
            voice = voice._replace(activate=body.activate)
            voice.outfit(self._wearer.wardrobe)  # can be worn so
        if most > self.limits.max_tokens:
            message = f"max_tokens {most}: this server writes at most {self.limits.max_tokens}"
            raise Refusal(400, message, "max_tokens_too_large")
        seed = secrets.randbits(62) if body.seed is None else body.seed
        temperature = 1.0 if body.temperature is None else body.temperature
        deadline = time.monotonic() + self.limits.seconds
        for prompt in prompts:
            room = self._room(len(prompt), 1 if shrinks else most)
            for _ in range(body.n or 1):
                settings = DrawSettings(
                    min(most, room), temperature, body.top_p or 1.0, _seed(seed, len(work.rows)),
                    body.stops, top, trimmed,
                )  # fmt: skip
                work.add(voice, prompt, settings).deadline = deadline
        self.engine.submit(work.rows)

    def voice(self, model: str, persona: PersonaBody | None) -> Voice:
        """Return who is meant by the two fields of a request.

        Raises:
            UnknownNameError: There is no such model, or no such persona.
            Refusal: The two name different personas.
        """
        name: str | None = None
        for base in (self.name, BASE):
            if model == base or model.startswith(f"{base}:"):
                name = model[len(base) + 1 :] if model != base else None
                break
        else:
            raise _unknown(model, self.models())
        voice = Voice(name) if persona is None else persona.voice()
        if name is not None and voice.name != name:
            raise Refusal(
                400, f"model says persona {name!r}, and persona says another", "two_personas"
            )
        voice.outfit(self._wearer.wardrobe)  # is loaded, and can be worn so
        return voice

    def _prompts(self, prompt: str | list[int] | list[str] | list[list[int]]) -> list[list[int]]:
        parts: list[Any] = [prompt] if isinstance(prompt, str) or _is_row(prompt) else list(prompt)
        with self._encoding:
            rows = [
                text_tokens(part, self._tokenizer) if isinstance(part, str) else part
                for part in parts
            ]
        for row in rows:
            if not row:
                raise Refusal(400, "the prompt is empty: it needs a token", "empty_prompt")
            if max(row) >= self._vocabulary:
                message = f"token {max(row)}: the model knows those below {self._vocabulary}"
                raise Refusal(400, message, "unknown_token")
        return rows

    def _room(self, length: int, wanted: int) -> int:
        """Return how many tokens the context has left after a prompt."""
        if self._context is None:
            return self.limits.max_tokens
        if length + wanted > self._context:
            raise Refusal(
                400,
                f"a prompt of {length} tokens and an answer of {wanted} do not fit into the "
                f"model's context of {self._context}",
                "context_length_exceeded",
            )
        return self._context - length

    def _read(self, source: str) -> list[tuple[str, Subnetwork]]:
        if self.shelf is None:
            raise PersonaError("this server was started without --personas")
        return list(self.shelf.read(source))

    def _model_card(self, id: str, origin: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": id, "object": "model", "created": self.started, "owned_by": "prosopon",
            "prosopon": origin,
        }  # fmt: skip


def _origin(name: str, config: SubnetworkConfig) -> dict[str, Any]:
    return {
        "persona": name,
        "target": config.persona,
        "opposite": config.opposite,
        "base_model": portable_name(config.base_model),
        "criterion": config.criterion,
        "pattern": config.pattern,
        "pruned_share": round(pruned_share(config), 6),
        "has_strengths": config.ranked,
        "fingerprint": config.fingerprint.weights,
        "created": config.created,
    }


def _exactly(source: str, name: str) -> str:
    """Return the source of one persona, also where a source holds several."""
    return f"{source}#{name}" if source.endswith(PACK) else source


def _seed(seed: int, number: int) -> int:
    """Return the seed of a request's row: the next number for the next row."""
    return (seed + number) % 2**63


def _is_row(prompt: Any) -> bool:
    return bool(prompt) and isinstance(prompt[0], int)


def _unknown(model: str, models: Sequence[dict[str, Any]]) -> ProsoponError:
    return UnknownNameError("model", model, [str(card["id"]) for card in models])
