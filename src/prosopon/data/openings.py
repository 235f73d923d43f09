"""Plain texts that begin alike: the shared beginning is what is asked, the rest is the answer.

A persona without prompts (story sentences after an opening, say) has its question inside the
text. Where both texts of a pair begin with the same words, these say nothing of the persona:
they are read, as a prompt is, and neither scored nor judged.
"""

from collections.abc import Sequence
from dataclasses import replace

from prosopon.data.encoding import Encoded
from prosopon.data.examples import Example, Message
from prosopon.data.pairs import EncodedPair

OPENING = 4
"""Words of a plain text that free text goes on from, where a pair shares no beginning."""


def is_plain(prompt: Sequence[Message]) -> bool:
    """Tell whether a prompt is plain text to go on from rather than a dialogue.

    A plain prompt is empty, or one assistant's message alone.
    """
    return not prompt or (len(prompt) == 1 and prompt[0].role == "assistant")


def plain_text(prompt: Sequence[Message]) -> str:
    """Return the text of a plain prompt; empty where there is no message."""
    return prompt[0].content if prompt else ""


def shared_opening(target: Example, opposite: Example) -> str:
    """Return the whole words that two plain texts begin with; empty where there is a prompt.

    White space at the end of it is left out. Two equal texts share nothing: the whole text is
    then the answer.
    """
    if target.prompt or opposite.prompt or target.response == opposite.response:
        return ""
    shared = target.response[: _agreeing(target.response, opposite.response)]
    if not (_ends_word(target.response, shared) and _ends_word(opposite.response, shared)):
        shared = shared.rstrip()[: _last_space(shared)]
    return shared.rstrip()


def opening(target: Example, opposite: Example) -> str:
    """Return what free text goes on from: the shared opening, or the target's first words."""
    return shared_opening(target, opposite) or " ".join(target.response.split()[:OPENING])


def answer(example: Example, opening: str) -> str:
    """Return an example's response without the opening that it begins with."""
    return example.response.removeprefix(opening).strip()


def without_shared_beginning(pair: EncodedPair) -> EncodedPair:
    """Return an encoded pair of plain texts that counts only what comes after its shared tokens.

    Scope and response alike. A pair in which one side would be left without a token is returned
    as it is.
    """
    shared = _agreeing(pair[0].input_ids, pair[1].input_ids)
    target, opposite = (_from(side, shared) for side in pair)
    return (target, opposite) if any(target.response) and any(opposite.response) else pair


def _agreeing(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many items two sequences have in common at their start."""
    both = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(both) if a != b), min(len(one), len(other)))


def _from(side: Encoded, first: int) -> Encoded:
    def cut(flags: list[bool]) -> list[bool]:
        return [flag and index >= first for index, flag in enumerate(flags)]

    return replace(side, scope=cut(side.scope), response=cut(side.response))


def _ends_word(text: str, shared: str) -> bool:
    return len(text) == len(shared) or text[len(shared)].isspace() or shared[-1:].isspace()


def _last_space(shared: str) -> int:
    spaces = [index for index, letter in enumerate(shared.rstrip()) if letter.isspace()]
    return spaces[-1] if spaces else 0
