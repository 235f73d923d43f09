"""The arm ``prompt-paper``: one plain line, as the paper's prompting baseline has.

The paper compares with a system prompt of one line that names the personality and does not print
its wording; the words here are our own.
"""

from __future__ import annotations

from prosopon.arms.base import ARMS, Kind, Lab
from prosopon.arms.options import WithOptions
from prosopon.arms.prompt import line_arm
from prosopon.arms.ready import Ready


def plain_line(name: str) -> str:
    """Return the one line that names a persona, in our own words."""
    return f"You are a person with the {name.replace('-', ' ').replace('_', ' ')} personality."


class PaperPromptArm(WithOptions):
    """One plain system line that names the persona."""

    name = "prompt-paper"
    summary = "one plain system line that names the persona, as in the paper"
    kind: Kind = "prompting"
    learns = False

    def refuses(self, lab: Lab) -> str | None:
        """Return None: it can always be made."""
        return None

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona from the calibration examples."""
        self.parse(lab.options)
        return line_arm(lab, plain_line(lab.contrast.target))


ARMS.add("prompt-paper", PaperPromptArm())
