"""The arms ``base``, ``prompt`` and ``prompt-paper``: nothing, a good system line, a plain one.

The paper compares with a system prompt of one line that names the personality and does not print
its wording; the words of ``prompt-paper`` are our own.
"""

from dataclasses import dataclass

from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Clock, Ready, always, speaker_of
from prosopon.arms.turns import put_before
from prosopon.data.contrast import Contrast
from prosopon.errors import DataError
from prosopon.options import option


class BaseArm(WithOptions):
    """The base model without anything; what every other arm is compared with."""

    name = "base"
    summary = "the model as it is"
    kind: Kind = "base"
    learns = False

    def prepare(self, lab: Lab) -> Ready:
        """Return the model as it is."""
        return Ready(Cost(), always(speaker_of(lab)))


@dataclass(frozen=True)
class PromptOptions:
    """Options of ``prompt``."""

    line: str = option("", "the system line; default the contrast's own, or its description")


def good_line(contrast: Contrast) -> str | None:
    """Return the contrast's line, or one made of its description; None where it has neither."""
    if contrast.line:
        return contrast.line
    if not contrast.description.strip():
        return None
    character = contrast.description.strip().rstrip(".")
    return (
        f"Stay in this character in everything you say: {character}. Think, choose and speak as "
        "this character would, in the first person, and never step out of it."
    )


class PromptArm(WithOptions):
    """A system line that names the persona, before every prompt."""

    name = "prompt"
    summary = "a good system line"
    kind: Kind = "prompting"
    learns = False
    options = PromptOptions

    def refuses(self, lab: Lab) -> str | None:
        """Return why there is no line, or None."""
        if self._line(lab) is None:
            return (
                f"{lab.contrast.target} has neither a system line nor a description to make one "
                "of; give prompt.line=..."
            )
        return None

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona from the calibration examples.

        Raises:
            DataError: There is no line; see :meth:`refuses`.
        """
        line = self._line(lab)
        if line is None:
            raise DataError(str(self.refuses(lab)))
        return line_arm(lab, line)

    def _line(self, lab: Lab) -> str | None:
        parsed: PromptOptions = self.parse(lab.options)
        return parsed.line or good_line(lab.contrast)


def plain_line(name: str) -> str:
    """Return the one line that names a persona, in our own words."""
    return f"You are a person with the {name.replace('-', ' ').replace('_', ' ')} personality."


class PaperPromptArm(WithOptions):
    """One plain system line that names the persona."""

    name = "prompt-paper"
    summary = "one plain system line that names the persona, as in the paper"
    kind: Kind = "prompting"
    learns = False

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona's name."""
        self.parse(lab.options)
        return line_arm(lab, plain_line(lab.contrast.target))


def line_arm(lab: Lab, line: str) -> Ready:
    """Return an arm that puts a line before every prompt."""
    clock = Clock()
    speaker = speaker_of(lab, lambda prompt: put_before(prompt, line))
    cost = Cost(clock.seconds(), len(line.encode()), {"line": line})
    return Ready(cost, always(speaker))


for _arm in (BaseArm(), PromptArm(), PaperPromptArm()):
    ARMS.add(_arm.name, _arm)
