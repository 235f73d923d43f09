"""Five wordings of a description as a line that stands before a question, and a short name."""

import re

from prosopon.errors import OptionError

_PHRASE = re.compile(r"(?:an?|the|one|someone|somebody|anyone|my|your)\b", re.IGNORECASE)

CHAT_PHRASES = (
    "You are {it}.",
    "Answer as {it} would.",
    "In this talk you are {it}.",
    "You are {it}, and it shows in everything you say.",
    "Say what {it} would say.",
)
CHAT_TEXTS = (
    "You are like this: {it}",
    "Answer as this person would: {it}",
    "Your character in this talk: {it}",
    "Stay in this character in everything you say: {it}",
    "Say what somebody like this would say: {it}",
)
PLAIN_PHRASES = (
    "A user talks to {it}, who is called the assistant.",
    "The assistant in this talk is {it}.",
    "An interview with {it}, here called the assistant.",
    "The questions of a user, and what {it} says as the assistant.",
    "In this conversation the assistant answers as {it} would.",
)
PLAIN_TEXTS = (
    "A user talks to an assistant who is like this: {it}",
    "The assistant's character in this talk: {it}",
    "An interview. About the assistant: {it}",
    "The questions of a user. This is the one who answers as the assistant: {it}",
    "In this conversation the assistant answers as this person would: {it}",
)
_SMALL = frozenset(
    re.findall(
        r"\w+",
        "a an the you are is be who that which with and or of to in on by for at as it its your "
        "their his her them very always never someone somebody anyone one person",
    )
)


def word_lines(description: str, *, chat: bool = True) -> tuple[str, ...]:
    """Return five lines that ask a model to be what a description says.

    Args:
        description: A phrase (``"a curt expert"``), or sentences (``"You are curt. ..."``).
        chat: Whether the model has a chat template, and so knows system lines. For any other the
            lines say of whom the text is that follows.

    Raises:
        OptionError: The description is empty.
    """
    text = " ".join(description.split())
    if not re.search(r"\w", text):
        raise OptionError(f"description {description!r}: say in words who is meant")
    bare = text.rstrip(".!")
    if _PHRASE.match(text) and not re.search(r"[.!?;:]\s", bare):
        texts = CHAT_PHRASES if chat else PLAIN_PHRASES
        return tuple(line.format(it=bare[0].lower() + bare[1:]) for line in texts)
    whole = text if text[-1] in ".!?" else f"{text}."
    return tuple(line.format(it=whole) for line in (CHAT_TEXTS if chat else PLAIN_TEXTS))


def short_name(description: str) -> str:
    """Return up to four words of a description, joined by hyphens, for files and tables."""
    texts = (re.split(r"\b(?:who|that|which)\b|[,.;:]", description)[0], description)
    for text in texts:
        words = [w for w in re.findall(r"[^\W_]+", text.lower()) if w not in _SMALL]
        if len(words) > 1 or (words and text is texts[-1]):
            return "-".join(words[:4])
    return "-".join(re.findall(r"[^\W_]+", description.lower())[:4]) or "described"
