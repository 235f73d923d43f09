"""The arm ``wanda-general``: plain Wanda whose statistics are those of general text.

It is as sparse as ``wanda`` and as careful with what the model needs, and knows no persona.
"""

from collections.abc import Mapping
from typing import Any

from prosopon.arms.base import ARMS, Kind, Lab
from prosopon.arms.masks import MaskReady, MaskSettings, make_ready, mask_options, settings_of
from prosopon.arms.options import WithOptions
from prosopon.criteria import CRITERIA
from prosopon.data import Example, Message, Persona
from prosopon.errors import OptionError
from prosopon.extraction.extractor import assemble
from prosopon.extraction.request import resolve_request
from prosopon.extraction.scored import scored_mask
from prosopon.statistics import collect_statistics
from prosopon.subnetwork import Subnetwork

NAME = "general-text"


class GeneralWandaArm(WithOptions):
    """Wanda on general text, at Wanda's default sparsity."""

    name = "wanda-general"
    summary = "control: Wanda on general text instead of the persona's examples"
    kind: Kind = "control"
    criterion = CRITERIA.get("wanda")

    options = mask_options(criterion)

    def parse(self, values: Mapping[str, Any]) -> Any:
        """Return the options for ``values``, of the dataclass."""
        parsed = super().parse(values)
        if parsed.sparsity == "auto":
            raise OptionError(f"arm {self.name!r} has no sparsity 'auto': give a number")
        return parsed

    def prepare(self, lab: Lab) -> MaskReady:
        """Learn the persona from the calibration examples.

        Raises:
            ModelError: General text cannot be sampled from the model.
        """
        settings = settings_of(self.parse(lab.options), self.criterion)
        lab.extractor.general()  # shared by all arms
        return make_ready(lab, lambda: self._find(lab, settings), {})

    def _find(self, lab: Lab, settings: MaskSettings) -> Subnetwork:
        collector = lab.extractor.without_statistics(lab.seed).collector
        texts = collector.general()
        rows = tuple(
            Example((Message("assistant", lab.tokenizer.decode(text.input_ids)),)) for text in texts
        )
        request = resolve_request(
            Persona(NAME, rows), criterion=self.criterion.name, sparsity=settings.sparsity,
            pattern=settings.pattern, options=settings.options, scope="all",
        )  # fmt: skip
        with collector.reading():
            statistics = collect_statistics(collector.model, collector.sites, texts, scope="all")
            mask = scored_mask(collector, request, {"target": statistics})
        return assemble(collector, request, mask, len(texts))


ARMS.add("wanda-general", GeneralWandaArm())
