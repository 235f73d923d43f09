"""Signs that somebody left the role: it calls itself a program, or speaks of its makers."""

import re

_MODEL = r"(?:a\.?i\.?|(?:large )?language model|artificial intelligence)(?!\w)"
_PROGRAM = (
    r"(?:chat ?bot|bot|robot|machine|(?:computer )?program|(?:ai |virtual |digital )?assistant)\b"
)
_OPEN = r"(?: (?!no\b|not\b|never\b|hardly\b)\w+){0,3}?"  # up to three words, none a denial

GIVE_AWAYS = (
    rf"\bas an? {_MODEL}",
    rf"\bi(?:'m| am){_OPEN} (?:{_MODEL}|{_PROGRAM})(?! (?:of|to)\b)",
    r"\bi was (?:programmed|developed|trained (?:on|to (?:assist|help|answer)))\b",
    r"\bmy (?:training data|developers?|programmers?|programming|knowledge cut-?off)\b",
    r"\bi (?:do not|don't|cannot|can't) have (?:feelings|a body|personal (?:opinions|experiences))",
    r"\b(?:openai|anthropic|meta ai|google deepmind|hugging ?face)\b",
    r"\bi(?:'m| am)(?: only| just)? (?:playing a|acting as|pretending to)\b",
)
"""Patterns, in any case. A denial ("I am not a machine", "I am no bot") is none."""

_FOUND = re.compile("|".join(f"(?:{pattern})" for pattern in GIVE_AWAYS))


def leaves_role(text: str) -> bool:
    """Tell whether an answer gives away that somebody plays a role; English only.

    Only what is said outright is found: an answer without any sign may be nonsense, and belongs
    beside a judge's verdict and the signs of degeneration.
    """
    said = " ".join(text.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())
    return _FOUND.search(said) is not None
