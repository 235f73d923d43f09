"""Pairing the target's examples with the opposite's."""

from collections import defaultdict
from collections.abc import Sequence

from prosopon.data.encoding import Encoded
from prosopon.data.examples import Example, Message, Persona

ExamplePair = tuple[Example, Example]
"""The target's example and the opposite's."""

EncodedPair = tuple[Encoded, Encoded]
"""The same as tokens."""

PersonaPair = tuple[Persona, Persona]
"""Target and opposite."""


def pair_examples(target: Sequence[Example], opposite: Sequence[Example]) -> list[ExamplePair]:
    """Pair examples that answer the same prompt; pair the rest in order.

    Every example of either side takes part: where one side has more left over, the other side's
    left-over examples (all its examples, if it has none left) are used again from the start.
    Pairs come in the order of the target's examples, the unmatched ones last.
    """
    waiting: dict[tuple[Message, ...], list[Example]] = defaultdict(list)
    for example in opposite:
        waiting[example.prompt].append(example)
    pairs, rest, left = [], [], []
    for example in target:
        partners = waiting[example.prompt]
        if partners:
            pairs.append((example, partners.pop(0)))
        else:
            rest.append(example)
    for example in opposite:
        if example in waiting[example.prompt]:
            waiting[example.prompt].remove(example)
            left.append(example)
    if rest or left:
        count = max(len(rest), len(left))
        firsts, seconds = rest or list(target), left or list(opposite)
        pairs += [(firsts[i % len(firsts)], seconds[i % len(seconds)]) for i in range(count)]
    return pairs
