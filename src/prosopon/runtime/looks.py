"""Looks: what a model wears, as a gate for every weight.

A look is a list of parts. A part takes the first weights of one persona's ranking and
multiplies each by a gate. Where parts overlap, their gates multiply. So the gate of weight p is

    gate(p) = product of part.gate over the parts whose prefix holds p

and everything a model can wear is one formula: a hard mask is one part with gate 0, a soft one
has a gate between 0 and 1, a dial is a shorter prefix, and a blend has several parts.
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from prosopon.errors import OptionError, PersonaError, UnknownNameError
from prosopon.subnetwork import STEPS, Subnetwork, SubnetworkConfig

BlendMode = Literal["auto", "strength", "gate"]
"""How a weight of a blend acts: by prefix, by gate, or by prefix where there is a ranking."""

Wearable = str | Mapping[str, float] | None
"""A persona's name; a blend as weights by name; or None for the base model."""


class LookPart(NamedTuple):
    """A prefix of one persona's ranking and the gate of its weights."""

    name: str  # A loaded persona
    steps: int  # 0 to 256; pruned weights of a level below this are meant, all of them at 256
    gate: float  # what they are multiplied by, in [0, 1]


Look = tuple[LookPart, ...]
"""Parts in the order of their names, each of which changes something; empty for the base."""

BASE: Look = ()


class Outfit(NamedTuple):
    """What is worn, as it was asked for."""

    name: str | None = None  # the persona; None for the base and for blends
    gamma: float = 1.0  # gate of its pruned weights
    strength: float = 1.0  # share of its ranking
    blend: Mapping[str, float] | None = None  # weights by name; None unless a blend is worn
    look: Look = BASE  # what that means for the weights

    @property
    def names(self) -> frozenset[str]:
        """The personas that are involved."""
        return frozenset(self.blend or ([] if self.name is None else [self.name]))

    @property
    def title(self) -> str | None:
        """The persona's name, or the blend in words: ``introvert 0.7 + thinking 0.3``."""
        if self.blend is None:
            return self.name
        return " + ".join(f"{name} {weight:g}" for name, weight in self.blend.items())


class Wardrobe:
    """The loaded personas of a model, and what a request for some of them means."""

    def __init__(self) -> None:
        self.configs: dict[str, SubnetworkConfig] = {}
        self.compensated: set[str] = set()

    def add(self, name: str, subnetwork: Subnetwork) -> None:
        """Take in a persona."""
        self.configs[name] = subnetwork.config
        if subnetwork.compensation is not None:
            self.compensated.add(name)

    def remove(self, name: str) -> None:
        """Forget a persona."""
        del self.configs[name]
        self.compensated.discard(name)

    def check(self, name: str) -> None:
        """Raise an UnknownNameError unless a persona is loaded."""
        if name not in self.configs:
            raise UnknownNameError("persona", name, self.configs)

    def compensates(self, outfit: Outfit) -> bool:
        """Tell whether an outfit gives kept weights new values."""
        return any(part.name in self.compensated for part in outfit.look)

    def single(self, name: str | None, gamma: float, strength: float) -> Outfit:
        """Return one persona as an outfit; see :meth:`~prosopon.runtime.PersonaModel.set_persona`.

        Raises:
            ProsoponError: As there; or a strength or gamma between 0 and 1 of a compensated one.
        """
        if name is not None:
            self.check(name)
        _check_share("gamma", gamma)
        _check_share("strength", strength)
        if name is None:
            return Outfit()
        if name in self.compensated and not {gamma, strength} <= {0.0, 1.0}:
            raise _whole_only(name)
        if strength < 1.0 and not self.configs[name].ranked:
            raise _no_ranking(name, strength)
        look = _look([LookPart(name, steps(strength), float(gamma))])
        return Outfit(name, float(gamma), float(strength), None, look)

    def blend(self, weights: Mapping[str, float], mode: BlendMode = "auto") -> Outfit:
        """Return a blend as an outfit; see :meth:`~prosopon.runtime.PersonaModel.set_blend`.

        Raises:
            ProsoponError: As there; or a compensated persona beside others or with a weight
                between 0 and 1.
        """
        for name in weights:
            self.check(name)
        if mode not in (modes := get_args(BlendMode)):
            raise OptionError(f"unknown mode of blending {mode!r}. Choices: {', '.join(modes)}")
        if not weights:
            raise OptionError("a blend needs at least one persona: give weights by name")
        parts = []
        for name, weight in weights.items():
            _check_share(f"the blend's weight of {name!r}:", weight)
            if name in self.compensated and weight > 0.0 and (weight < 1.0 or len(weights) > 1):
                raise _whole_only(name)
            ranked = self.configs[name].ranked
            if mode == "strength" and 0.0 < weight < 1.0 and not ranked:
                raise _no_ranking(name, weight)
            if mode == "strength" or weight in (0.0, 1.0) or (mode == "auto" and ranked):
                parts.append(LookPart(name, steps(weight), 0.0))
            else:
                parts.append(LookPart(name, STEPS, 1.0 - weight))
        weights = {name: float(weight) for name, weight in weights.items()}
        return Outfit(None, 1.0, 1.0, weights, _look(parts))

    def row(self, wearable: Wearable) -> Outfit:
        """Return what one row of a mixed batch wears: nothing compensated, it takes masks off."""
        if wearable is None or isinstance(wearable, str):
            outfit = self.single(wearable, 0.0, 1.0)
        else:
            outfit = self.blend(wearable)
        if self.compensates(outfit):
            raise _whole_only(next(iter(outfit.names)))
        return outfit


def steps(strength: float) -> int:
    """Return how many levels a strength in [0, 1] prunes: level l where l / 256 < strength."""
    return math.ceil(STEPS * strength)


def _look(parts: list[LookPart]) -> Look:
    """Drop the parts that change nothing; the order makes products the same to the bit."""
    return tuple(sorted(part for part in parts if part.steps and part.gate != 1.0))


def _check_share(what: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:  # also refuses NaN
        raise OptionError(f"{what} {value}: must lie between 0 and 1")


def _no_ranking(name: str, strength: float) -> PersonaError:
    return PersonaError(
        f"persona {name!r} has no ranking of its pruned weights, so strength {strength:g} says "
        f"nothing; use a soft gate instead (gamma={1 - strength:g}; mode='gate' in a blend), or "
        "extract it again with a ranking"
    )


def _whole_only(name: str) -> PersonaError:
    return PersonaError(
        f"persona {name!r} has new values for its kept weights (a compensation), made for the "
        "whole mask: it is worn whole and alone, not in part, in a blend or in a mixed batch; "
        "set its subnetwork's compensation to None to wear the mask without them"
    )
