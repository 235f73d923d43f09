"""The arms ``shortest``, ``always-yes`` and ``always-a``: what a task gives away by its form.

A task in which one of these does well says little about personas.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Ready, always
from prosopon.evaluation.speakers import Rule, RuleSpeaker

_YES = re.compile(r"\W*yes\b", re.IGNORECASE)
_LETTER = re.compile(r"\W*A\W*|\s*\(A\).*|\s*A[.):].*", re.DOTALL)


def shortest(options: Sequence[str]) -> list[float]:
    """Return 1 for the options with the fewest characters, 0 for the others."""
    fewest = min(len(option.strip()) for option in options)
    return [float(len(option.strip()) == fewest) for option in options]


def always_yes(options: Sequence[str]) -> list[float]:
    """Return 1 for options that begin with the word Yes, 0 for the others."""
    return [float(_YES.match(option) is not None) for option in options]


def always_a(options: Sequence[str]) -> list[float]:
    """Return 1 for options that are the letter A or labelled with it, 0 for the others."""
    return [float(_LETTER.fullmatch(option) is not None) for option in options]


@dataclass(frozen=True)
class RuleArm(WithOptions):
    """An arm that reads the options only.

    Attributes:
        name: Its name.
        summary: One line.
        rule: The rule.
        kind: A control.
        learns: It reads no examples.
    """

    name: str
    summary: str
    rule: Rule
    kind: Kind = "control"
    learns: bool = False

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona from the calibration examples."""
        self.parse(lab.options)
        return Ready(Cost(), always(RuleSpeaker(self.name, self.rule)))


for _arm in (
    RuleArm("shortest", "control: the option with the fewest characters", shortest),
    RuleArm("always-yes", "control: the option that begins with Yes", always_yes),
    RuleArm("always-a", "control: the option labelled A", always_a),
):
    ARMS.add(_arm.name, _arm)
