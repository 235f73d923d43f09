"""The arm ``wanda-general``: plain Wanda whose statistics are those of general text.

It is as sparse as ``wanda`` and as careful with what the model needs, and knows no persona.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prosopon.arms.base import ARMS, Kind, Lab
from prosopon.arms.masks import MaskReady, MaskSettings, found_by, mask_options, settings_of
from prosopon.criteria import CRITERIA
from prosopon.data import Example, Message, Persona
from prosopon.errors import OptionError
from prosopon.extraction.grouping import groups_for
from prosopon.extraction.provenance import Calibration, describe
from prosopon.extraction.scored import Evidence, scored_mask
from prosopon.options import parse_options
from prosopon.selection import find_pattern
from prosopon.statistics import collect_statistics
from prosopon.subnetwork import Subnetwork

NAME = "general-text"


class GeneralWandaArm:
    """Wanda on general text, at Wanda's default sparsity."""

    name = "wanda-general"
    summary = "control: Wanda on general text instead of the persona's examples"
    kind: Kind = "control"
    criterion = CRITERIA.get("wanda")

    @property
    def options(self) -> type:
        """Those of ``wanda``."""
        return mask_options(self.criterion)

    def parse(self, given: Mapping[str, Any]) -> Any:
        """See :class:`~prosopon.arms.Arm`."""
        parsed = parse_options(f"arm {self.name!r}", self.options, given)
        if parsed.sparsity == "auto":
            raise OptionError(f"arm {self.name!r} has no sparsity 'auto': give a number")
        return parsed

    def refuses(self, lab: Lab) -> str | None:
        """It never does."""
        return None

    def prepare(self, lab: Lab) -> MaskReady:
        """See :class:`~prosopon.arms.Arm`.

        Raises:
            ModelError: General text cannot be sampled from the model.
        """
        settings = settings_of(self.parse(lab.options), self.criterion)
        lab.extractor.general()  # shared by all arms
        return found_by(lab, lambda: self._find(lab, settings), {})

    def _find(self, lab: Lab, settings: MaskSettings) -> Subnetwork:
        extractor, texts = lab.extractor, lab.extractor.general()
        options = self.criterion.parse_options(settings.options)
        pattern = settings.pattern or self.criterion.pattern
        asked = settings.sparsity if isinstance(settings.sparsity, float) else None
        share = find_pattern(pattern).share(asked, self.criterion.sparsity)
        groups = groups_for(pattern, share, extractor.model, extractor.sites)
        statistics = collect_statistics(extractor.model, extractor.sites, texts, scope="all")
        masked = scored_mask(
            extractor.sites, self.criterion, options, Evidence(target=statistics), share,
            pattern, lab.seed, groups,
        )  # fmt: skip
        told = tuple(
            Example((Message("assistant", lab.tokenizer.decode(text.input_ids)),)) for text in texts
        )
        config = describe(
            masked.keep, Calibration(Persona(NAME, told), None, len(texts), "all"),
            self.criterion, dict(settings.options), pattern, share, lab.seed,
            model=extractor.name, revision=extractor.revision, fingerprint=extractor.fingerprint,
        )  # fmt: skip
        return Subnetwork(masked.keep, config)


ARMS.add("wanda-general", GeneralWandaArm())
