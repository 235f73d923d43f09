"""Countable signs of a text that need no judge: who speaks, how loudly, and of whom."""

import re

_WORD = re.compile(r"[^\W\d_]+")
_FIRST_PERSON = re.compile("i|me|my|mine|myself|we|us|ours?|ourselves")
_SOCIAL = re.compile(
    "acquaintances?|audience|brothers?|celebrat(?:e|ing|ions?)|chat(?:ting)?|clubs?|colleagues?"
    "|community|companions?|company|conversations?|crowds?|every(?:body|one)|famil(?:y|ies)"
    "|friends?(?:hip)?|gather(?:ing)?s?|groups?|guests?|invit(?:e|ed)|join|mates?|meet(?:ing)?s?"
    "|mingle|neighbou?rs?|others|part(?:y|ies)|partners?|people|relatives|shar(?:e|ing)|sisters?"
    "|social(?:i[sz](?:e|ing))?|someone|talk(?:ing)?|team(?:mate)?s?|together|visit(?:ors?)?"
)
"""Words of other people and of being among them; our own list, English only."""

SIGNS = {
    "first-person": "share of an answer's words that are I, we, and their forms",
    "social": "share of an answer's words that speak of other people",
    "exclaims": "share of answers with an exclamation mark",
    "asks": "share of answers with a question mark",
}


def count_signs(text: str) -> dict[str, float]:
    """Return the signs of one text, each in [0, 1]; see :data:`SIGNS`."""
    words = _WORD.findall(text.casefold())
    count = max(1, len(words))
    return {
        "first-person": sum(bool(_FIRST_PERSON.fullmatch(word)) for word in words) / count,
        "social": sum(bool(_SOCIAL.fullmatch(word)) for word in words) / count,
        "exclaims": float("!" in text),
        "asks": float("?" in text),
    }
