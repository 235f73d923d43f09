"""A scored criterion of one's own: keep the weights whose channels vary most for the target.

A channel that is always equally loud carries no news. The score is |w| times the standard
deviation of the channel's input over the target's tokens; the highest of every output row stay.

    prosopon extract --target extravert --criterion varying --plugin own_criterion.py
"""

from dataclasses import dataclass

from prosopon.criteria import CRITERIA, ScoredCriterion
from prosopon.options import option, require


@dataclass(frozen=True)
class VaryingOptions:
    power: float = option(1.0, "exponent of the standard deviation")

    def __post_init__(self):
        require(self.power > 0, f"option power={self.power}: must be above 0")


def varying_score(inputs, options):
    deviation = inputs.activations("target").variance.sqrt()
    return inputs.weight.abs() * inputs.channel(deviation**options.power)


CRITERIA.add("varying", ScoredCriterion(
    name="varying", summary="|weight| x how much the persona's input of the channel varies",
    source="docs/examples/own_criterion.py", score=varying_score, needs=frozenset({"target"}),
    options=VaryingOptions,
))  # fmt: skip
