"""The arm ``steer2edit``: steering vectors turned into rank-one edits of the weights.

Steer2Edit (Sun, Yan, Wang and Weng 2026, arXiv 2602.09870, sections 2 to 4.1). Edited is what
writes into the residual stream: of an attention's output projection the columns of each head, of
an MLP's down projection the column of each neuron. With v the difference of the block's mean
output (target less opposite), W a component and mu its mean input, every component gets

    dW = lambda v' k'^T,  k = W^T v,  g = cos(v, W mu),
    lambda = sign(g) max(|g| - rho alpha, 0) / (rho (1 - alpha))

where v' and k' have length 1. The dial is the budget: a scale s stands for rho / s. Unlike the
paper, whose two budgets come from a grid per model, heads and neurons share one rho, and v is a
mean over the answers' tokens rather than over answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.dose import Candidate, ScaleDial
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Clock, Ready
from prosopon.arms.steering import Pairs, margin_of, split_pairs
from prosopon.data import Persona, PersonaPair
from prosopon.data.pairs import pair_examples
from prosopon.errors import SiteError
from prosopon.models import Site, find_groups
from prosopon.options import option, require
from prosopon.statistics import Statistics

if TYPE_CHECKING:
    from torch import Tensor

ALPHAS = (0.3, 0.7)
Parts = Literal["both", "attention", "mlp"]
PARTS: tuple[Parts, ...] = ("both", "attention", "mlp")
KINDS = {"attention": "heads", "mlp": "channels"}


@dataclass(frozen=True)
class Steer2EditOptions:
    """Options of ``steer2edit``."""

    parts: Literal["auto", "both", "attention", "mlp"] = option(
        "auto", "what is edited: heads, neurons or both; auto: chosen on held-out pairs"
    )
    alpha: Literal["auto"] | float = option(
        "auto", "share of the L1 term, from 0 to below 1: more leaves more components as they are"
    )
    rho: float = option(0.3, "the budget where max_loss is 0: less edits more")
    max_loss: float = option(0.05, "as in lora; with 0, auto is both, and 0.7")

    def __post_init__(self) -> None:
        alpha = self.alpha
        require(alpha == "auto" or 0 <= alpha < 1, f"option alpha={alpha}: must be 0 or more, < 1")
        require(self.rho > 0, f"option rho={self.rho}: must be above 0")
        require(self.max_loss >= 0, f"option max_loss={self.max_loss}: must not be negative")


class Component(NamedTuple):
    """What is edited as one: some columns of a site.

    Attributes:
        site: The site.
        width: Columns of each component: a head's width, or 1 for a neuron.
        part: ``attention`` or ``mlp``.
    """

    site: Site
    width: int
    part: str


class Edit(NamedTuple):
    """The edits of all components of a site, before their magnitude.

    Attributes:
        component: Which.
        direction: v', float32 ``[out]``.
        keys: k' of every component side by side, float32 ``[in]``.
        importance: g of every component, float32 ``[in / width]``.
    """

    component: Component
    direction: Tensor
    keys: Tensor
    importance: Tensor


class Steer2EditArm(WithOptions):
    """Rank-one edits of heads and neurons along the steering vectors of their blocks."""

    name = "steer2edit"
    summary = "steering vectors as rank-one edits of heads and neurons"
    kind: Kind = "training"
    options = Steer2EditOptions

    def refuses(self, lab: Lab) -> str | None:
        """Return why the model's heads or neurons cannot be told apart, or None."""
        try:
            components(lab)
        except SiteError as error:
            return str(error)
        return None

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona from the calibration examples.

        Raises:
            DataError: There are fewer calibration examples than asked for.
            OptionError: A bad option, or there are too few pairs to choose by.
            SiteError: The model's heads or neurons cannot be told apart.
        """
        parsed: Steer2EditOptions = self.parse(lab.options)
        if parsed.max_loss:
            lab.extractor.held_out()  # shared by all arms
            return self.dial(lab).within(parsed.max_loss)
        fixed = replace(
            parsed,
            parts="both" if parsed.parts == "auto" else parsed.parts,
            alpha=ALPHAS[-1] if parsed.alpha == "auto" else parsed.alpha,
        )
        return self.dial(replace(lab, options=vars(fixed))).at(1.0)

    def dial(self, lab: Lab) -> ScaleDial:
        """Find directions and importance once, for every budget; raises as :meth:`prepare`.

        Of several parts and alphas those are taken whose margin on held-out pairs is largest,
        each at its budget within the limit, with edits that did not see those pairs.
        """
        parsed: Steer2EditOptions = self.parse(lab.options)
        places = components(lab)
        clock = Clock()
        target, opposite = lab.contrast.drawn(lab.examples, lab.seed)
        parts = PARTS if parsed.parts == "auto" else (parsed.parts,)
        alphas = ALPHAS if parsed.alpha == "auto" else (parsed.alpha,)
        margin = None
        if len(parts) * len(alphas) > 1:
            pairs = pair_examples(target.examples, opposite.examples)
            rest, held_out = split_pairs(
                pairs, lab.seed, "steer2edit holds pairs out to choose parts and alpha by"
            )
            halves = [
                _statistics(lab, _personas(target, opposite, some)) for some in (rest, held_out)
            ]
            whole = [one + other for one, other in zip(*halves, strict=True)]
            edits, trials = edits_of(places, *whole), edits_of(places, *halves[0])
            margin = margin_of(lab, held_out)
        else:
            edits = trials = edits_of(places, *_statistics(lab, (target, opposite)))
        candidates = [
            Candidate(
                partial(edited, _only(edits, part), alpha, parsed.rho),
                partial(edited, _only(trials, part), alpha, parsed.rho),
                {"parts": part, "alpha": alpha, "rho": parsed.rho},
            )
            for part in parts
            for alpha in alphas
        ]
        size = 4 * sum(
            len(e.direction) + len(e.importance) + (len(e.keys) if e.component.width > 1 else 0)
            for e in edits
        )
        return ScaleDial(lab, candidates, Cost(clock.seconds(), size), margin)


def components(lab: Lab) -> list[Component]:
    """Return the sites that write into the residual stream, and the width of their components.

    Raises:
        SiteError: Heads or neurons cannot be told apart in this model.
    """
    sites = {site.name: site for site in lab.extractor.sites}
    places = []
    for part, kind in KINDS.items():
        for group in find_groups(lab.model, lab.extractor.sites, kind):
            columns = group.parts[-1]  # what comes down is the last
            heads = group.shrinks.get("num_attention_heads", 1)  # query heads of a unit
            width = columns.indices.shape[1] // heads
            places.append(Component(sites[columns.site], width, part))
    return places


def edits_of(places: Sequence[Component], target: Statistics, opposite: Statistics) -> list[Edit]:
    """Return directions, keys and importance from both sides' mean inputs.

    A block's mean output is its weight times its mean input; a bias is the same on both sides.
    """
    edits = []
    for place in places:
        weight = place.site.matrix().float().cpu()
        ours, theirs = (side[place.site.name].mean.float() for side in (target, opposite))
        direction = torch.nn.functional.normalize(weight @ (ours - theirs), dim=0)
        keys = (weight.T @ direction).view(-1, place.width)
        keys = torch.nn.functional.normalize(keys, dim=1).flatten()
        inputs = ((ours + theirs) / 2).view(-1, place.width)
        # [out, components]: what each component writes on average
        outputs = torch.einsum("ocw,cw->oc", weight.view(len(weight), -1, place.width), inputs)
        importance = torch.nn.functional.normalize(outputs, dim=0).T @ direction
        edits.append(Edit(place, direction, keys, importance))
    return edits


def magnitudes(importance: Tensor, alpha: float, rho: float) -> Tensor:
    """Return lambda of every component: the elastic net's soft threshold."""
    return importance.sign() * (importance.abs() - rho * alpha).clamp_min(0) / (rho * (1 - alpha))


@contextmanager
def edited(edits: Sequence[Edit], alpha: float, rho: float, scale: float) -> Iterator[None]:
    """Add the edits to the weights inside a with block; afterwards they are as before.

    Args:
        edits: The edits.
        alpha: Share of the L1 term.
        rho: The budget.
        scale: It is divided by.
    """
    originals: list[tuple[Tensor, Tensor]] = []
    try:
        for edit in edits:
            strength = magnitudes(edit.importance, alpha, rho / scale)
            if not bool(strength.any()):
                continue
            matrix = edit.component.site.matrix()
            originals.append((matrix, matrix.clone()))
            row = edit.keys * strength.repeat_interleave(edit.component.width)
            matrix.add_(torch.outer(edit.direction, row).to(matrix))
        yield
    finally:
        for matrix, weight in originals:
            matrix.copy_(weight)


def _only(edits: Sequence[Edit], part: str) -> list[Edit]:
    return [edit for edit in edits if part in ("both", edit.component.part)]


def _statistics(lab: Lab, sides: PersonaPair) -> tuple[Statistics, Statistics]:
    extractor = lab.extractor.without_statistics(lab.seed)
    target, opposite = (extractor.statistics(side) for side in sides)
    return target, opposite


def _personas(target: Persona, opposite: Persona, pairs: Pairs) -> PersonaPair:
    ours, theirs = zip(*pairs, strict=True)
    return replace(target, examples=tuple(ours)), replace(opposite, examples=tuple(theirs))


ARMS.add("steer2edit", Steer2EditArm())
