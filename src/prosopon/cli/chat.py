"""``prosopon chat``: talk to a model that wears a persona."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prosopon.cli import console
from prosopon.cli.console import error, print_json
from prosopon.cli.loading import load
from prosopon.cli.options import Device, DeviceMap, Dtype, Json, Model, Revision, Seed
from prosopon.errors import OptionError, ProsoponError

HELP = (
    "/persona NAME wears another persona, /base none, /strength 0..1 turns the dial, "
    "/system TEXT sets a system line, /reset forgets the talk, /quit ends"
)


def chat(
    persona: Annotated[
        list[Path] | None,
        typer.Option("--persona", "-p", help="Folder of a subnetwork. May be repeated."),
    ] = None,
    message: Annotated[
        list[str] | None,
        typer.Option("--message", help="Say this instead of asking at the terminal; repeatable."),
    ] = None,
    model: Model = "embedded",
    system: Annotated[str | None, typer.Option("--system", help="A system line.")] = None,
    gamma: Annotated[
        float, typer.Option("--gamma", help="Soft gate: 0 is the whole mask, 1 the base model.")
    ] = 0.0,
    strength: Annotated[
        float, typer.Option("--strength", help="Share of the ranking: 1 is the whole mask, 0 none.")
    ] = 1.0,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="0 is greedy.")
    ] = 1.0,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Longest answer.")
    ] = 128,
    seed: Seed = 0,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
    as_json: Json = False,
) -> None:
    """Chat with a model, bare or wearing a persona."""
    from prosopon.runtime import PersonaModel

    if as_json and not message:
        raise OptionError("--json needs --message: a talk at the terminal is not JSON")
    loaded = load(model, device=device, dtype=dtype, device_map=device_map, revision=revision)
    wearer = PersonaModel(loaded.model, loaded.tokenizer)
    # Named by folder: two masks of one persona may be worn in one talk.
    names = [wearer.load_persona(folder, folder.resolve().name) for folder in persona or ()]
    wearer.set_persona(names[0] if names else None, gamma=gamma, strength=strength)
    talk = Talk(
        wearer, loaded.tokenizer, system, gamma, temperature, max_new_tokens, seed, strength
    )
    if message:
        turns = [{"user": text, "assistant": talk.say(text)} for text in message]
        if as_json:
            print_json({"persona": wearer.active, "turns": turns})
        else:
            for turn in turns:
                console.say(turn["assistant"])
        return
    _terminal(talk)


class Talk:
    """A conversation: its messages, and how the model answers."""

    def __init__(
        self,
        wearer: Any,
        tokenizer: Any,
        system: str | None,
        gamma: float,
        temperature: float,
        max_new_tokens: int,
        seed: int,
        strength: float = 1.0,
    ) -> None:
        self.strength = strength
        self.wearer, self.tokenizer, self.system, self.gamma = wearer, tokenizer, system, gamma
        self.temperature, self.max_new_tokens, self.seed = temperature, max_new_tokens, seed
        self.turns: list[tuple[str, str]] = []

    def say(self, text: str) -> str:
        """Answer ``text`` and remember both."""
        from prosopon.data import Message
        from prosopon.lm.generation import generate_answers

        messages = [Message("system", self.system)] if self.system else []
        for asked, told in self.turns:
            messages += [Message("user", asked), Message("assistant", told)]
        messages.append(Message("user", text))
        answer = generate_answers(
            self.wearer.model,
            self.tokenizer,
            [messages],
            temperature=self.temperature,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed + len(self.turns),
        )[0]
        self.turns.append((text, answer))
        return answer

    def command(self, line: str) -> bool:
        """Carry out a line that begins with a slash; return whether the talk goes on.

        Raises:
            ProsoponError: An unknown command or persona.
        """
        word, _, rest = line.partition(" ")
        if word == "/quit":
            return False
        if word == "/persona":
            self._wear(rest.strip(), self.strength)
        elif word == "/strength":
            self._wear(self.wearer.active, _share(rest))
        elif word == "/base":
            self.wearer.disable()
        elif word == "/system":
            self.system = rest.strip() or None
        elif word == "/reset":
            self.turns.clear()
        else:
            raise OptionError(f"unknown command {word!r}: {HELP}")
        return True

    def _wear(self, name: str | None, strength: float) -> None:
        """Wear a persona, and keep the strength for the next one if it can be worn."""
        self.wearer.set_persona(name, gamma=self.gamma, strength=strength)
        self.strength = strength


def _share(text: str) -> float:
    """Read a number.

    Raises:
        OptionError: It is none.
    """
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"/strength needs a number between 0 and 1, not {text!r}") from None


def _terminal(talk: Talk) -> None:
    console.note(f"personas: {', '.join(talk.wearer.personas) or 'none loaded'}. {HELP}")
    while True:
        try:
            line = input(f"{talk.wearer.active or 'base'}> ").strip()
        except EOFError:
            return
        if not line:
            continue
        if not line.startswith("/"):
            console.say(talk.say(line))
            continue
        try:
            if not talk.command(line):
                return
        except ProsoponError as problem:
            error(str(problem))
