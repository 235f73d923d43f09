"""The arm ``few-shot``: a few calibration examples as earlier turns, the same for every prompt."""

import random
from dataclasses import dataclass

from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Clock, Ready, always, speaker_of
from prosopon.arms.turns import ShowExamples, text_bytes
from prosopon.options import option, require


@dataclass(frozen=True)
class FewShotOptions:
    """Options of ``few-shot``."""

    shots: int = option(3, "examples before every prompt")
    room: int = option(128, "tokens of the context kept for the answer; examples go first")

    def __post_init__(self) -> None:
        for name in ("shots", "room"):
            value = getattr(self, name)
            require(value >= 1, f"option {name}={value}: must be at least 1")


class FewShotArm(WithOptions):
    """Examples of the target, drawn once with the seed, as earlier turns."""

    name = "few-shot"
    summary = "a few calibration examples as earlier turns"
    kind: Kind = "prompting"
    options = FewShotOptions

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona from the calibration examples.

        Raises:
            DataError: There are fewer calibration examples than asked for.
            OptionError: None of them fits into the model's context.
        """
        parsed: FewShotOptions = self.parse(lab.options)
        clock = Clock()
        examples = lab.contrast.drawn(lab.examples, lab.seed)[0].examples
        count = min(parsed.shots, len(examples))
        shots = random.Random(f"{lab.seed}/shots").sample(examples, count)
        rewrite = ShowExamples(lambda prompt: shots, lab.tokenizer, limit(lab, parsed.room))
        rewrite.check(examples)
        details = {"shots": count, "room": parsed.room}
        cost = Cost(clock.seconds(), text_bytes(shots), details)
        return Ready(cost, always(speaker_of(lab, rewrite)))


def limit(lab: Lab, room: int) -> int | None:
    """Return the most tokens of a prompt; None where the model's context is not known."""
    longest = lab.extractor.max_length
    return max(longest - room, 1) if longest else None


ARMS.add("few-shot", FewShotArm())
