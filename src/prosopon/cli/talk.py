"""A talk with a model that wears personas: its turns by who speaks, and its commands."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from prosopon.cli.console import note
from prosopon.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from prosopon.data import Message
    from prosopon.runtime import PersonaModel

COMMANDS = {
    "/persona": "NAME wears another persona",
    "/base": "wears none",
    "/both": "answers as the base and as the persona, side by side; again ends it",
    "/strength": "0..1 turns the dial",
    "/system": "TEXT sets a system line",
    "/reset": "forgets the talk",
    "/help": "says this",
    "/exit": "ends the talk, as /quit and Ctrl-D do",
}
HELP = "; ".join(f"{name} {text}" for name, text in COMMANDS.items())


class Turn(NamedTuple):
    """What the user said, and the answer."""

    user: str
    assistant: str


@dataclass
class Talk:
    """A conversation: what was said to and by each voice, and how the model answers.

    A voice is a persona at a strength, or the base. Each knows its own turns alone: the base
    would go on in a persona's words if it read them.
    """

    wearer: PersonaModel  # the model
    system: str | None = None  # a system line
    gamma: float = 0.0  # soft gate of the persona
    strength: float = 1.0  # share of the persona's ranking
    temperature: float = 1.0  # of the draws; 0 is greedy
    max_new_tokens: int = 128  # longest answer
    seed: int = 0  # of the draws
    both: bool = False  # whether the base answers as well
    # turns by voice
    history: dict[tuple[str | None, float], list[Turn]] = field(default_factory=dict)

    @property
    def turns(self) -> list[Turn]:
        """The turns of the voice that speaks."""
        return self.history.setdefault((self.wearer.active, self.wearer.strength), [])

    def stream(self, text: str) -> Generator[str, None, None]:
        """Yield the answer to ``text`` piece by piece; what was written of it is remembered."""
        turns = self.turns
        messages = self._fit(text, turns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no template is said at the start
            pieces = self.wearer.chat(
                messages,
                stream=True,
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                seed=self.seed + len(turns),
            )
        written: list[str] = []
        try:
            for piece in pieces:
                written.append(piece)
                yield piece
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            if written:
                turns.append(Turn(text, "".join(written)))

    def answer(self, text: str) -> str:
        """Return the answer to ``text``, and remember both."""
        return "".join(self.stream(text))

    def answer_as_base(self, text: str) -> str:
        """Return the base's answer to ``text``, which the base remembers."""
        with self.wearer.persona(None):
            return self.answer(text)

    def obey(self, line: str) -> bool:
        """Carry out a line that begins with a slash; return whether the talk goes on."""
        word, _, rest = line.partition(" ")
        if word in ("/quit", "/exit"):
            return False
        if word == "/persona":
            self.wear(self.find(rest.strip()), self.strength)
        elif word == "/strength":
            self.wear(self.wearer.active, _share(rest))
        elif word == "/base":
            self.wearer.disable()
        elif word == "/both":
            self.both = not self.both
        elif word == "/system":
            self.system = rest.strip() or None
        elif word == "/reset":
            self.history.clear()
        elif word == "/help":
            note(HELP)
        else:
            raise UnknownNameError("command", word, [*COMMANDS, "/quit"])
        return True

    def wear(self, name: str | None, strength: float) -> None:
        """Wear a persona, or none, and keep the strength if that was possible."""
        self.wearer.set_persona(name, gamma=self.gamma, strength=strength)
        self.strength = strength

    def find(self, name: str) -> str:
        """Return the loaded persona that a name or the beginning of one means."""
        loaded = self.wearer.personas
        similar = [persona for persona in loaded if name and persona.startswith(name)]
        if name in loaded or len(similar) != 1:
            return name
        return similar[0]

    def _fit(self, text: str, turns: list[Turn]) -> list[Message]:
        """Return the messages to read; the oldest turns go where the context is full."""
        from prosopon.runtime.conversation import fit_turns

        wearer, messages = self.wearer, self._messages(turns, text)
        fitting = fit_turns(messages, wearer.model, wearer.tokenizer, self.max_new_tokens)
        if count := (len(messages) - len(fitting)) // 2:
            note(f"the context is full: the oldest {count} turns are forgotten")
            del turns[:count]
        return self._messages(turns, text)

    def _messages(self, turns: Sequence[Turn], text: str) -> list[Message]:
        from prosopon.data import Message

        messages = [Message("system", self.system)] if self.system else []
        for turn in turns:
            messages += [Message("user", turn.user), Message("assistant", turn.assistant)]
        return [*messages, Message("user", text)]


def complete(text: str, personas: Sequence[str]) -> list[str]:
    """Return the lines that a half-written one may become: commands, and names of personas."""
    word, space, rest = text.partition(" ")
    if word == "/persona" and space:
        return [f"{word} {name}" for name in personas if name.startswith(rest)]
    return [name for name in COMMANDS if name.startswith(text)] if text.startswith("/") else []


def _share(text: str) -> float:
    """Return a strength from text."""
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"/strength needs a number between 0 and 1, not {text!r}") from None
