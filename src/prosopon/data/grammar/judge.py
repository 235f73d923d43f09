"""Judging a free answer by the grammar: which poles could have said this sentence?

The judge is strict: the whole text must fit a template of the pole, word for word, with a
known value in every slot (both splits count). Anything else is *neither*.
"""

import re
from functools import cache
from typing import Literal

from prosopon.data.grammar.world import SLOT, SPLITS, Phrases, load_world

Verdict = Literal["target", "opposite", "neither"]


def poles_of(text: str) -> frozenset[str]:
    """Return the names of all poles whose grammar writes ``text``; white space is trimmed."""
    text = text.strip()
    return frozenset(name for name in load_world().poles if _pattern(name).fullmatch(text))


def judge(text: str, target: str, opposite: str) -> Verdict:
    """Say whether ``text`` is an answer of ``target``, of ``opposite``, or of neither.

    A sentence that fits both, or another axis, is neither.
    """
    is_target = _pattern(target).fullmatch(text.strip()) is not None
    is_opposite = _pattern(opposite).fullmatch(text.strip()) is not None
    if is_target == is_opposite:
        return "neither"
    return "target" if is_target else "opposite"


@cache
def _pattern(pole: str) -> re.Pattern[str]:
    phrases = load_world().pole(pole).answers
    templates = [t for split in SPLITS for t in phrases.templates[split]]
    return re.compile("|".join(_template(template, phrases) for template in templates))


def _template(template: str, phrases: Phrases) -> str:
    parts = SLOT.split(template)  # literal, slot, literal, slot, ..., literal
    return "".join(
        _alternatives(phrases, part) if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    )


def _alternatives(phrases: Phrases, slot: str) -> str:
    values = [value for split in SPLITS for value in phrases.slots[slot][split]]
    return "(?:" + "|".join(map(re.escape, values)) + ")"
