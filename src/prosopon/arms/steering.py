"""The arm ``steering``: a vector added to what one decoder layer gives.

The vector is the mean difference between the target's and the opposite's answers
(:mod:`prosopon.arms.vectors`). The steering-vectors package asks for an older
transformers than this project supports, so this is a small implementation of our own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.dose import Candidate, ScaleDial
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Clock, Ready, counter
from prosopon.arms.vectors import decoder_layers, difference, layer_means, steered
from prosopon.data import Encoded, Example, encode_all
from prosopon.data.openings import without_shared_beginning
from prosopon.data.pairs import pair_examples
from prosopon.errors import ModelError, OptionError
from prosopon.lm import row_log_likelihoods, text_losses
from prosopon.options import option, require

if TYPE_CHECKING:
    from torch import Tensor, nn

HELD_OUT = 4  # every fourth pair is held out to choose by
LAYERS = 5  # most layers that are tried
MULTIPLIERS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
TEXTS = 32  # general texts whose loss is watched

Pairs = Sequence[tuple[Example, Example]]


@dataclass(frozen=True)
class SteeringOptions:
    """Options of ``steering``."""

    layer: Literal["auto"] | int = option(
        "auto", "decoder layer, the first is 0; auto: chosen on held-out calibration pairs"
    )
    multiplier: Literal["auto"] | float = option(
        "auto", "how many times the vector is added; auto: chosen likewise"
    )
    tolerance: float = option(
        0.05, "auto: how much the loss of general text may rise, as a share of the base's"
    )
    max_loss: float = option(
        0.0,
        "nats a token that held-out general text may lose: the largest multiplier within it is "
        "taken, and auto chooses the layer among those; 0: tolerance and multiplier stand",
    )

    def __post_init__(self) -> None:
        require(self.layer == "auto" or self.layer >= 0, f"option layer={self.layer}: below 0")
        for name in ("tolerance", "max_loss"):
            value = getattr(self, name)
            require(value >= 0, f"option {name}={value}: must not be negative")


@dataclass(frozen=True)
class SteeringTrial:
    """A layer and multiplier that were tried.

    Attributes:
        layer: The layer.
        multiplier: The multiplier.
        margin: Mean difference of the log-likelihoods per token, target less opposite, of the
            held-out pairs.
        general_rise: How much the loss of general text rises, as a share of the base's.
    """

    layer: int
    multiplier: float
    margin: float
    general_rise: float


class SteeringArm(WithOptions):
    """A mean-difference vector, added to one decoder layer's output at every token."""

    name = "steering"
    summary = "a mean-difference vector added to one decoder layer"
    kind: Kind = "training"
    options = SteeringOptions

    def refuses(self, lab: Lab) -> str | None:
        """Return why the model's layers cannot be found, or None."""
        try:
            decoder_layers(lab.model)
        except ModelError as error:
            return str(error)
        return None

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona from the calibration examples.

        Raises:
            DataError: There are fewer calibration examples than asked for.
            OptionError: The model has no such layer, or there are too few pairs to choose by.
            ModelError: The model's layers cannot be found.
        """
        parsed: SteeringOptions = self.parse(lab.options)
        if parsed.max_loss:
            return self.dial(lab).within(parsed.max_loss)
        stack = self._stack(lab, parsed)
        lab.extractor.general()  # shared by all arms
        clock = Clock()
        target, opposite = lab.contrast.drawn(lab.examples, lab.seed)
        pairs = pair_examples(target.examples, opposite.examples)
        chosen, details = _choose(lab, stack, pairs, parsed)
        vector = _vectors(lab, [chosen.layer], pairs)[chosen.layer]
        cost = Cost(clock.seconds(), vector.numel() * vector.element_size(), details)
        place = _place(stack[chosen.layer], chosen.layer, vector, vector)
        return ScaleDial(lab, [place], cost, name="multiplier").at(chosen.multiplier)

    def dial(self, lab: Lab) -> ScaleDial:
        """Find the vectors once, for every multiplier; raises as :meth:`prepare` does.

        Of several layers the one is taken whose margin on held-out pairs is largest, each at its
        multiplier within the limit, with vectors that did not see those pairs.
        """
        parsed: SteeringOptions = self.parse(lab.options)
        stack = self._stack(lab, parsed)
        clock = Clock()
        target, opposite = lab.contrast.drawn(lab.examples, lab.seed)
        pairs = pair_examples(target.examples, opposite.examples)
        if parsed.layer != "auto":
            vectors = trials = _vectors(lab, [parsed.layer], pairs)
            margin = None
        else:
            rest, held_out = split_pairs(pairs, lab.seed)
            layers = candidates(len(stack))
            vectors, trials = _vectors(lab, layers, pairs), _vectors(lab, layers, rest)
            margin = margin_of(lab, held_out)
        size = next(iter(vectors.values())).numel() * 4
        places = [
            _place(stack[layer], layer, vector, trials[layer]) for layer, vector in vectors.items()
        ]
        return ScaleDial(lab, places, Cost(clock.seconds(), size), margin, name="multiplier")

    def _stack(self, lab: Lab, options: SteeringOptions) -> list[nn.Module]:
        stack = decoder_layers(lab.model)
        if options.layer != "auto" and options.layer >= len(stack):
            raise OptionError(
                f"option layer={options.layer}: the model has {len(stack)} decoder layers, 0 to "
                f"{len(stack) - 1}"
            )
        return stack


def _place(layer: nn.Module, number: int, vector: Tensor, trial: Tensor) -> Candidate:
    """Return a layer as a place to steer at."""
    details = {"layer": number, "norm": float(vector.norm())}
    return Candidate(partial(steered, layer, vector), partial(steered, layer, trial), details)


def candidates(layers: int) -> list[int]:
    """Return the layers that are tried: all of a few, else some from a fifth to four fifths."""
    if layers <= LAYERS:
        return list(range(layers))
    first, last = layers // 5, 4 * layers // 5
    steps = [first + round(i * (last - first) / (LAYERS - 1)) for i in range(LAYERS)]
    return sorted(set(steps))


def pick(trials: Sequence[SteeringTrial], tolerance: float) -> SteeringTrial:
    """Return the harmless trial with the largest margin; of none, the least harmful."""
    harmless = [trial for trial in trials if trial.general_rise <= tolerance]
    if harmless:
        return max(harmless, key=lambda trial: trial.margin)
    return min(trials, key=lambda trial: trial.general_rise)


def _choose(
    lab: Lab, stack: Sequence[nn.Module], pairs: Pairs, options: SteeringOptions
) -> tuple[SteeringTrial, dict[str, object]]:
    """Return layer and multiplier, and how they were chosen."""
    if options.layer != "auto" and options.multiplier != "auto":
        return SteeringTrial(options.layer, options.multiplier, 0.0, 0.0), {}
    rest, held_out = split_pairs(pairs, lab.seed)
    layers = candidates(len(stack)) if options.layer == "auto" else [options.layer]
    sizes = MULTIPLIERS if options.multiplier == "auto" else (options.multiplier,)
    measure = _yardstick(lab, held_out)
    margin, general = measure()
    trials: list[SteeringTrial] = []
    say = counter(lab, "choosing the steering vector", len(layers))
    for number, (layer, vector) in enumerate(_vectors(lab, layers, rest).items(), 1):
        for size in sizes:
            with steered(stack[layer], vector, size):
                gap, loss = measure()
            trials.append(SteeringTrial(layer, size, gap, loss / general - 1))
            if trials[-1].general_rise > options.tolerance:
                break  # more of it does more harm
        say(number)
    best = pick(trials, options.tolerance)
    details: dict[str, object] = {
        "base_margin": margin,
        "trials": [asdict(trial) for trial in trials],
        "within_tolerance": best.general_rise <= options.tolerance,
    }
    return best, details


def split_pairs(
    pairs: Pairs,
    seed: int,
    choice: str = "steering holds pairs out to choose layer and multiplier by",
    otherwise: str = "give both as options",
) -> tuple[Pairs, Pairs]:
    """Return the pairs to learn from, and every fourth, to choose by.

    Raises:
        OptionError: There are too few.
    """
    if len(pairs) < HELD_OUT:
        raise OptionError(f"{choice} and needs {HELD_OUT}; there are {len(pairs)}: {otherwise}")
    order = random.Random(f"{seed}/steering").sample(range(len(pairs)), len(pairs))
    rest = [pairs[i] for number, i in enumerate(order) if number % HELD_OUT]
    return rest, [pairs[i] for i in order[::HELD_OUT]]


def margin_of(lab: Lab, held_out: Pairs) -> Callable[[], float]:
    """Return what measures the pairs' mean margin, nats a token, with the model as it is."""
    ours, theirs = encode_sides(lab, held_out)
    limit = lab.extractor.max_tokens

    def mean(texts: Sequence[Encoded]) -> float:
        rows = row_log_likelihoods(lab.model, texts, every=False, max_tokens=limit)
        return sum(total / count for total, count in rows) / len(rows)

    return lambda: mean(ours) - mean(theirs)


def _yardstick(lab: Lab, held_out: Pairs) -> Callable[[], tuple[float, float]]:
    """Return what measures (margin of the held-out pairs, loss of general text) as it is."""
    margin, general = margin_of(lab, held_out), lab.extractor.general()[:TEXTS]

    def measure() -> tuple[float, float]:
        limit = lab.extractor.max_tokens
        total, count = text_losses(lab.model, general, every=True, max_tokens=limit)
        return margin(), total / count

    return measure


def _vectors(lab: Lab, layers: Sequence[int], pairs: Pairs) -> dict[int, Tensor]:
    """Return the mean differences of some layers."""
    limit = lab.extractor.max_tokens
    ours, theirs = (
        layer_means(lab.model, layers, side, max_tokens=limit) for side in encode_sides(lab, pairs)
    )
    return difference(ours, theirs)


def encode_sides(lab: Lab, pairs: Pairs) -> tuple[list[Encoded], list[Encoded]]:
    """Return both sides as tokens; what two plain texts begin with in common does not count."""
    sides = [
        encode_all([pair[i] for pair in pairs], lab.tokenizer, max_length=lab.extractor.max_length)
        for i in (0, 1)
    ]
    pairs_of_tokens = [
        both if target.prompt or opposite.prompt else without_shared_beginning(both)
        for both, (target, opposite) in zip(zip(*sides, strict=True), pairs, strict=True)
    ]
    return [ours for ours, _ in pairs_of_tokens], [theirs for _, theirs in pairs_of_tokens]


ARMS.add("steering", SteeringArm())
