"""Characters of our own invention: a sheet of facts, sample lines, and questions to them.

All characters have lines for the same prompts, so that the lines of one are a contrast to the
lines of the others.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from prosopon.data.examples import Example, Message, Persona
from prosopon.data.tables import find_table, read_table, table_names, table_rows, texts
from prosopon.errors import DataError

FOLDER = Path(__file__).parent
PREFIX = "character:"
"""Before the name of a character where a persona's source is asked for."""


@dataclass(frozen=True)
class Knowledge:
    """A question whose answer stands on the sheet."""

    question: str  # what is asked
    # groups of words or phrases in lower case; an answer should hold one of each group
    expect: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Character:
    """A character."""

    key: str  # its short name, as a persona's
    name: str  # what it is called in its world
    sheet: tuple[str, ...]  # facts, in the second person: a system line
    lines: tuple[tuple[str, str], ...]  # what it said when it was asked: (prompt, answer)
    knowledge: tuple[Knowledge, ...]  # questions about the sheet
    general: tuple[str, ...]  # questions about anything
    leave: tuple[str, ...]  # attempts to make it leave its role

    def persona(self) -> Persona:
        """Return the lines as a persona; its description is the sheet."""
        examples = tuple(
            _example(prompt, reply, f"{PREFIX}{self.key} {number}")
            for number, (prompt, reply) in enumerate(self.lines, 1)
        )
        return Persona(self.key, examples, " ".join(self.sheet))


def names() -> list[str]:
    """Return the short names of the bundled characters."""
    return table_names(FOLDER)


def others(key: str) -> Persona:
    """Return what the other bundled characters say to the prompts of one, in turn.

    Raises:
        UnknownNameError: No such character; the message lists them.
    """
    character = load_character(key)
    rest = [load_character(name) for name in names() if name != character.key]
    reply = [dict(member.lines) for member in rest]
    examples = []
    for number, (prompt, _) in enumerate(character.lines):
        other = number % len(rest)
        where = f"{PREFIX}{rest[other].key}"
        examples.append(_example(prompt, reply[other][prompt], where))
    description = "One of these characters: " + " ".join(member.sheet[0] for member in rest)
    return Persona(f"not-{character.key}", tuple(examples), description)


@cache
def load_character(source: str | Path) -> Character:
    """Return a character.

    Args:
        source: A bundled name, or a TOML file: ``name``, ``sheet``, ``general`` and ``leave``
            (lists of texts), tables ``[[line]]`` with ``asked`` and ``said``, and tables
            ``[[knowledge]]`` with ``question`` and ``expect`` (a list of lists of texts).

    Raises:
        UnknownNameError: No bundled character and no file is called so.
        DataError: The file cannot be used; names file and part.
    """
    path = find_table("character", FOLDER, source)
    content = read_table(path)
    sheet, general, leave = (
        texts(content.get(part), f"{path}: {part}") for part in ("sheet", "general", "leave")
    )
    lines = tuple(
        (_text(row, "asked", where), _text(row, "said", where))
        for row, where in table_rows(content, "line", path)
    )
    if len(dict(lines)) < len(lines):
        raise DataError(f"{path}: two lines answer the same prompt")
    knowledge = tuple(
        Knowledge(_text(row, "question", where), _groups(row.get("expect"), f"{where}: expect"))
        for row, where in table_rows(content, "knowledge", path)
    )
    name = _text(content, "name", str(path))
    return Character(path.stem, name, sheet, lines, knowledge, general, leave)


def _example(prompt: str, reply: str, source: str) -> Example:
    return Example((Message("user", prompt), Message("assistant", reply)), None, source)


def _text(row: dict[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {field} must be a text")
    return value


def _groups(value: Any, where: str) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{where} must be a list of lists of texts")
    return tuple(tuple(word.casefold() for word in texts(group, where)) for group in value)
