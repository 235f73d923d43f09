"""A light criterion of one's own: gains that count for less where the step is too long.

The gain w dL/dw is the slope times the whole way to zero. The longer the way, the less the slope
at its start says of the end. Here the gain is divided by 1 + reach * |w|, so that small weights
that all pull against the persona win over single large ones.

    prosopon extract --target extravert --criterion careful-taylor --plugin own_light_criterion.py
"""

from dataclasses import dataclass

from prosopon.criteria import CRITERIA, LightCriterion, LightOptions
from prosopon.criteria.light import removal_gain
from prosopon.options import option, require


@dataclass(frozen=True)
class CarefulOptions(LightOptions):
    reach: float = option(10.0, "how much a long step counts against a weight; 0: not at all")

    def __post_init__(self):
        super().__post_init__()
        require(self.reach >= 0, f"option reach={self.reach}: must not be negative")


def careful_gain(weight, gradient, options):
    return removal_gain(weight, gradient) / (1 + options.reach * weight.float().abs())


CRITERIA.add("careful-taylor", LightCriterion(
    name="careful-taylor", summary="light mask that trusts short steps more than long ones",
    source="docs/examples/own_light_criterion.py", options=CarefulOptions, gain=careful_gain,
))  # fmt: skip
