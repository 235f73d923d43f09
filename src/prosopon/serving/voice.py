"""Who answers: the base, a persona at a strength, or a blend."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prosopon.runtime.activation import Activate

if TYPE_CHECKING:
    from prosopon.runtime import PersonaModel
    from prosopon.runtime.looks import Outfit, Wardrobe, Wearable
    from prosopon.subnetwork import SubnetworkConfig

LIGHT = 0.05
"""Most pruned weights of a persona in a mixed batch: what is taken off costs by the weight."""


class Voice(NamedTuple):
    """What a request's rows wear."""

    name: str | None = None  # a loaded persona; None for the base and for blends
    strength: float = 1.0  # share of its ranking
    blend: tuple[tuple[str, float], ...] | None = None  # weights by name
    activate: Activate = "prompt"  # from which token on; see PersonaModel.mixed

    @property
    def names(self) -> frozenset[str]:
        """The personas that are involved."""
        own = () if self.name is None else (self.name,)
        return frozenset(name for name, _ in self.blend) if self.blend else frozenset(own)

    @property
    def title(self) -> str:
        """A word for logs and counts: ``base``, the persona's name, or ``blend``."""
        return "blend" if self.blend else self.name or "base"

    def outfit(self, wardrobe: Wardrobe) -> Outfit:
        """Return what that means for the weights.

        Raises:
            UnknownNameError: A persona is not loaded.
            ProsoponError: It cannot be worn so.
        """
        if self.blend:
            outfit = wardrobe.blend(dict(self.blend))
        else:
            outfit = wardrobe.single(self.name, 0.0, self.strength)
        return wardrobe.row(self.wearable()) if self.is_activated else outfit

    @property
    def is_activated(self) -> bool:
        """Whether it is worn for the answer alone: by the correction, never in the weights."""
        return self.activate == "answer" and bool(self.names)

    def wear(self, wearer: PersonaModel) -> None:
        """Wear it in the weights."""
        if self.blend:
            wearer.set_blend(dict(self.blend))
        else:
            wearer.set_persona(self.name, strength=self.strength)

    def wearable(self) -> Wearable:
        """Return it as a row of a mixed batch."""
        if self.blend:
            return dict(self.blend)
        if self.name is None or self.strength == 1.0:
            return self.name
        return {self.name: self.strength}

    def mixes(self, wearer: PersonaModel) -> bool:
        """Tell whether it may stand in a mixed batch: light masks without new values."""
        wardrobe = wearer.wardrobe
        return not (self.names & wardrobe.compensated) and all(
            pruned_share(wardrobe.configs[name]) <= LIGHT for name in self.names
        )


def pruned_share(config: SubnetworkConfig) -> float:
    """Return the share of its sites' weights that a persona prunes."""
    sites = config.sites.values()
    return sum(site.pruned for site in sites) / max(1, sum(site.total for site in sites))
