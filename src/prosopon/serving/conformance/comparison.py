"""Whether two replies come from one voice, rounding aside.

As long as two replies have the same tokens, what the model read is the same, and so must be the
log probabilities: of the tokens, and of the likeliest ones in their places. That also holds for
the first token in which they part. So a tie that rounding decides is told from a leak, and a leak
is seen where the texts are still the same.
"""

from collections.abc import Mapping
from typing import NamedTuple

from prosopon.serving.conformance.client import Reply, ScoredToken

UNLIKELY = -12.0
"""Log probability below which a token says nothing."""


class Likeness(NamedTuple):
    """How alike two replies are."""

    alike: bool  # whether one voice can have given both
    parted: str | None = None  # where they part, such as ``token 5``; None for nowhere
    furthest: float = 0.0  # largest difference of log probabilities up to there, in nats


def compare(one: Reply, other: Reply, tolerance: float, *, drawn: bool = False) -> Likeness:
    """Compare two replies to one prompt.

    Args:
        one: A reply.
        other: Another one.
        tolerance: Most difference of log probabilities that is rounding, in nats.
        drawn: Whether tokens were drawn, so that any likely one may follow.
    """
    if not (one.tokens and other.tokens):
        texts = _plain(one.text), _plain(other.text)
        parted = None if texts[0] == texts[1] else f"character {_shared(*texts) + 1}"
        return Likeness(parted is None, parted)
    furthest = 0.0
    for place, (ours, theirs) in enumerate(zip(one.tokens, other.tokens, strict=False), 1):
        distance = _distance(ours, theirs)
        furthest = max(furthest, distance)
        if distance > tolerance:
            return Likeness(False, f"token {place}", furthest)
        if ours.text.strip() != theirs.text.strip():
            return Likeness(True, f"token {place}", furthest)
    short, long = sorted((one, other), key=lambda reply: len(reply.tokens))
    rest = long.tokens[len(short.tokens) :]
    if rest and not (len(rest) == 1 and long.finish == short.finish == "stop"):
        # The shorter one ended where the longer one went on: the end must have been near.
        near = drawn or _lead(rest[0]) <= 2 * tolerance
        return Likeness(near and short.finish == "stop", f"token {len(short.tokens) + 1}", furthest)
    if _plain(one.text) != _plain(other.text):
        return Likeness(False, "the text of the same tokens", furthest)
    return Likeness(True, None, furthest)


def whose(reply: Reply, references: Mapping[str, Reply], tolerance: float) -> str | None:
    """Return the voice whose reference a reply is; None for nobody's."""
    for voice, reference in references.items():
        likeness = compare(reference, reply, tolerance)
        if likeness.alike and likeness.parted is None:
            return voice
    return None


def _distance(one: ScoredToken, other: ScoredToken) -> float:
    """Return how far two distributions are apart, as far as their likeliest tokens tell.

    A token that one of them does not list is at most as likely there as its least likely one.
    """
    ours, theirs = _listed(one), _listed(other)
    distances = [abs(ours[text] - theirs[text]) for text in ours.keys() & theirs.keys()]
    for mine, yours, top in ((ours, theirs, other.top), (theirs, ours, one.top)):
        least = max(UNLIKELY, min(top.values(), default=0.0))
        distances += [value - least for text, value in mine.items() if text not in yours]
    return max(distances, default=0.0)


def _listed(token: ScoredToken) -> dict[str, float]:
    values = {token.text: token.logprob, **token.top}
    likely = {text: value for text, value in values.items() if value > UNLIKELY}
    return likely or values


def _lead(token: ScoredToken) -> float:
    """Return how far the likeliest token is ahead of the next one."""
    ordered = sorted(token.top.values(), reverse=True)
    return ordered[0] - ordered[1] if len(ordered) > 1 else float("inf")


def _plain(text: str) -> str:
    return " ".join(text.split())


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
