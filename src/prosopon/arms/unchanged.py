"""The arm ``base``: the model as it is."""

from __future__ import annotations

from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Ready, always, speaker_of


class BaseArm(WithOptions):
    """The base model without anything; what every other arm is compared with."""

    name = "base"
    summary = "the model as it is"
    kind: Kind = "base"
    learns = False

    def refuses(self, lab: Lab) -> str | None:
        """Return None: it can always be made."""
        return None

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona from the calibration examples."""
        return Ready(Cost(), always(speaker_of(lab)))


ARMS.add("base", BaseArm())
