"""Recital: answers that repeat what an arm was shown, word for word."""

import re
from collections.abc import Sequence

from prosopon.judges.degeneration import grams

RUN = 4
"""Words in a row that make an answer a recital."""

_WORD = re.compile(r"\w+")


class Recital:
    """Tells whether a text holds four words in a row of a text that was learned from.

    A persona that is found on examples may do no more than say them again. A run may also be
    common language, so the share of such answers stands beside the base model's.

    Args:
        texts: What was learned from.
        general: Texts that know nothing of it: runs that they hold, too, do not count.
    """

    def __init__(self, texts: Sequence[str], general: Sequence[str] = ()) -> None:
        common = {run for text in general for run in _runs(text)}
        self._runs = {run for text in texts for run in _runs(text)} - common

    def recites(self, text: str) -> bool:
        """Tell whether a text holds such a run; case and punctuation are ignored."""
        return any(run in self._runs for run in _runs(text))


def _runs(text: str) -> list[tuple[str, ...]]:
    return grams(_WORD.findall(text.casefold()), RUN)
