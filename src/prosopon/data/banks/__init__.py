"""Banks of questions: neutral, with checkable answers, everyday ones, open ones for an axis.

All of them are our own wording and in the public domain (CC0-1.0).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from prosopon.data.tables import read_table
from prosopon.errors import DataError, UnknownNameError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class BankItem:
    """A question of a bank."""

    kind: str  # what it asks for: ``facts``, ``sums``, ..., ``open``
    question: str  # what is asked
    # the answers that are accepted; none where no answer can be checked
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bank:
    """Questions that serve one purpose."""

    name: str  # ``neutral``, ``checkable``, ``everyday``, or an axis
    summary: str  # one line
    items: tuple[BankItem, ...]  # the questions
    # by which the names of an axis's personas are known; ``*`` stands for any ending
    words: tuple[str, ...] = ()

    @property
    def questions(self) -> list[str]:
        """What is asked, in the bank's order."""
        return [item.question for item in self.items]

    def knows(self, persona: str) -> int:
        """Return how many words of a persona's name belong to this bank's axis."""
        patterns = [re.escape(word).replace(r"\*", r"\w*") for word in (self.name, *self.words)]
        parts = re.findall(r"[^\W_]+", persona.lower())
        return sum(bool(re.fullmatch("|".join(patterns), part)) for part in parts)


def bank_names() -> list[str]:
    """Return the names of the bundled banks, the axes last."""
    return ["neutral", "checkable", "everyday", *axes()]


def axes() -> list[str]:
    """Return the axes that have a bank of open questions."""
    return sorted(path.stem for path in (FOLDER / "open").glob("*.toml"))


@cache
def load_bank(source: str | Path) -> Bank:
    """Return a bank of questions.

    Args:
        source: A bundled name (`bank_names`), or a TOML file: ``summary``, perhaps ``words``, and
            a table ``[questions]`` with one list a kind; an entry is a question, or a list of a
            question and the answers that are accepted.

    Raises:
        UnknownNameError: No bundled bank and no file is called so.
        DataError: The file cannot be used; names file and entry.
    """
    path, name = Path(source), str(source)
    if name in bank_names():
        path = FOLDER / ("open" if name in axes() else "") / f"{name}.toml"
    elif not path.is_file():
        raise UnknownNameError("bank of questions", name, bank_names())
    content = read_table(path)
    kinds = content.get("questions")
    if not isinstance(kinds, dict) or not all(isinstance(rows, list) for rows in kinds.values()):
        raise DataError(f"{path}: holds no table [questions] of lists")
    items = tuple(
        _item(row, kind, f"{path}: {kind}, entry {number}")
        for kind, rows in kinds.items()
        for number, row in enumerate(rows, 1)
    )
    if not items:
        raise DataError(f"{path}: holds no questions")
    return Bank(path.stem, str(content.get("summary", "")), items, tuple(content.get("words", ())))


def open_bank(*personas: str) -> Bank | None:
    """Return the bank of open questions for a contrast, or None where no axis fits.

    Args:
        personas: Names of the target and the opposite, such as ``"bold", "cautious"`` or
            ``"power-seeking-inclination"``; the axis whose words stand in most of them is taken.
    """
    scores = {
        axis: sum(load_bank(axis).knows(persona) for persona in set(personas)) for axis in axes()
    }
    best = max(scores, key=scores.__getitem__)
    return load_bank(best) if scores[best] else None


def is_right(answer: str, accepted: Sequence[str]) -> bool:
    """Return whether an answer holds one of the accepted ones as whole words, whatever the case."""
    text = f" {_words(answer)} "
    return any(f" {_words(right)} " in text for right in accepted)


def _words(text: str) -> str:
    """Return the words and numbers of a text in lower case, one space between them."""
    return " ".join(re.findall(r"\d+(?:[.,]\d+)*|[^\W_]+", text.lower()))


def _item(row: Any, kind: str, where: str) -> BankItem:
    question, *answers = row if isinstance(row, list) and row else [row]
    if not all(isinstance(text, str) and text.strip() for text in (question, *answers)):
        raise DataError(f"{where}: must be a question, or a list of a question and its answers")
    if isinstance(row, list) and not answers:
        raise DataError(f"{where}: a list needs an answer after its question")
    return BankItem(kind, question, tuple(answers))
