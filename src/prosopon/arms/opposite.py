"""The arm ``opposite``: the mask of the opposite persona, asked what the target is asked.

Where it helps the target as much as the target's own mask does, the mask is not about the persona.
"""

from collections.abc import Mapping
from typing import Any

from prosopon.arms.base import ARMS, Kind, Lab
from prosopon.arms.masks import MaskReady, extracted, mask_options, settings_of
from prosopon.arms.options import WithOptions
from prosopon.criteria import CRITERIA
from prosopon.options import parse_options

FLAGSHIP = "contrastive-taylor"


class OppositeArm(WithOptions):
    """The opposite's mask; ``criterion`` names the criterion, whose options it has."""

    name = "opposite"
    summary = f"control: the opposite persona's mask ({FLAGSHIP}, or opposite.criterion=...)"
    kind: Kind = "control"

    options = mask_options(CRITERIA.get(FLAGSHIP), chosen=FLAGSHIP)

    def parse(self, values: Mapping[str, Any]) -> Any:
        """Return the options for ``values``, of the dataclass.

        Raises:
            UnknownNameError: No such criterion.
            OptionError: A bad option.
        """
        criterion = CRITERIA.get(str(values.get("criterion", FLAGSHIP)))
        options = mask_options(criterion, chosen=criterion.name)
        return parse_options(f"arm {self.name!r}", options, values)

    def prepare(self, lab: Lab) -> MaskReady:
        """Learn the persona from the calibration examples.

        Raises:
            ProsoponError: See :meth:`prosopon.extraction.Extractor.extract`.
        """
        parsed = self.parse(lab.options)
        criterion = CRITERIA.get(parsed.criterion)
        return extracted(lab, criterion, settings_of(parsed, criterion), exchanged=True)


ARMS.add("opposite", OppositeArm())
