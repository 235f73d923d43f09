"""The arm ``prompt``: a good system line."""

from __future__ import annotations

from dataclasses import dataclass

from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Clock, Ready, always, speaker_of
from prosopon.arms.turns import put_before
from prosopon.data.contrast import Contrast
from prosopon.errors import DataError
from prosopon.options import option


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


def line_arm(lab: Lab, line: str) -> Ready:
    """Return an arm that puts a line before every prompt."""
    clock = Clock()
    speaker = speaker_of(lab, lambda prompt: put_before(prompt, line))
    cost = Cost(clock.seconds(), len(line.encode()), {"line": line})
    return Ready(cost, always(speaker))


ARMS.add("prompt", PromptArm())
