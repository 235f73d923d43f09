"""The path of a light mask: it grows round by round, each round judged on the masked model."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch

from prosopon import ranks
from prosopon.criteria import LightCriterion, LightOptions
from prosopon.extraction.light.candidates import find_candidates, highest
from prosopon.extraction.light.free_text import FreeTextTerms
from prosopon.extraction.light.lines import highest_in_lines
from prosopon.extraction.light.pruning import temporary_pruning
from prosopon.gradients import (
    Anchor,
    Material,
    Objective,
    PromptTeacher,
    check_gradient,
    objective_terms,
    stream_gradients,
)
from prosopon.models import Site
from prosopon.progress import Report, step_counter

if TYPE_CHECKING:
    from torch import Tensor, nn

SHARE = 0.05  # of the weights may be candidates
LEVELS = 256
Fisher = Callable[[Mapping[str, "Tensor"]], Mapping[str, "Tensor"]]


@dataclass(frozen=True)
class Ranking:
    """Weights in the order in which they should go.

    Attributes:
        positions: Flat positions, int64 ascending, of every site.
        scores: Their scores, float32, the same shapes, above zero; higher goes first.
    """

    positions: Mapping[str, Tensor]
    scores: Mapping[str, Tensor]

    def __len__(self) -> int:
        return sum(len(flat) for flat in self.positions.values())

    def digest(self) -> str:
        """Return a hash of the positions."""
        whole = hashlib.sha256()
        for flat in self.positions.values():
            whole.update(flat.cpu().numpy().tobytes())
        return whole.hexdigest()

    def levels(self) -> dict[str, Tensor]:
        """Return each weight's level, uint8: the first go at the lowest of 256 strengths.

        A strength takes the prefix that holds that share of the summed scores. The best weights
        do most of the work; equal steps of their number would spend the dial on its first tenth.
        """
        flat = torch.cat([score.cpu() for score in self.scores.values()]).double()
        ranked = flat.sort(stable=True, descending=True)
        sums = ranked.values.cumsum(0)
        before = (sums - ranked.values) / sums[-1:]
        levels = torch.empty(len(flat), dtype=torch.uint8)
        levels[ranked.indices] = (before * LEVELS).long().clamp_max(LEVELS - 1).to(torch.uint8)
        sizes = [len(score) for score in self.scores.values()]
        return dict(zip(self.scores, torch.split(levels, sizes), strict=True))

    def keep(self, sites: Sequence[Site]) -> dict[str, Tensor]:
        """Return the keep-mask of every site, bool [out, in], on the CPU."""
        masks = {site.name: torch.ones(site.shape, dtype=torch.bool) for site in sites}
        for name, flat in self.positions.items():
            masks[name].view(-1)[flat.cpu()] = False
        return masks


@dataclass(frozen=True)
class Trial:
    """A mask that the next round may be done under, tried on the round's general texts.

    Attributes:
        mask: The mask.
        divergence: How far it is from the base on those texts, nats a token; 0 without an anchor.
        gradient: Of the weighted divergence at the candidates, float32 ``[n]`` of every site;
            None for a mask that goes too far, under which no round is done.
    """

    mask: Ranking
    divergence: float
    gradient: Mapping[str, Tensor] | None


class LightPath:
    """Grows a light mask.

    Every round draws a batch of pairs and of general texts, takes the gradient of the objective
    on the masked model, adds every candidate's gain (with its original weight) to the sum of its
    gains so far, and masks the weights with the highest positive sums minus damage. A weight
    whose removal turned out to hurt comes back. It is dual averaging over masks. The model's
    weights come back bit for bit after every call, also after an exception.

    Args:
        model: A causal LM.
        sites: Its sites.
        material: What the objective is computed on.
        criterion: Says what removal gains and damages.
        options: Its options.
        largest: The largest mask that will be asked for, in weights.
        fisher: Gives the Fisher diagonal at flat positions; called once.
        seed: Seeds the batches.
        max_tokens: Most tokens, padding included, in one backward pass.
        lines: Most rows and columns of every site that its masks may lie in; default any.
        free_text: Adds the gain of free text, written under each round's mask; default none.
        anchor: Adds the divergence from the base model on general text; default none.
        teacher: Adds the divergence from what the prompted base model predicts; default none.
        report: Called with (stage, done, total) while candidates are looked for.

    Attributes:
        free_text: As given.
        lines: As given.
        rounds: Rounds done; finding the candidates is the first.
        losses: The objective before each round, on the round's batch.
        texts: Texts read forward and backward, each answer of a pair being one.
        texts_forward: Texts read forward alone.
        damage_weight: lambda; may be changed between rounds, the gains stay what they are.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: Sequence[Site],
        material: Material,
        criterion: LightCriterion,
        options: LightOptions,
        *,
        largest: int,
        fisher: Fisher,
        seed: int = 0,
        max_tokens: int = 2048,
        lines: int | None = None,
        free_text: FreeTextTerms | None = None,
        anchor: Anchor | None = None,
        teacher: PromptTeacher | None = None,
        report: Report | None = None,
    ) -> None:
        self.model, self.sites, self.free_text, self.lines = model, list(sites), free_text, lines
        self._anchor, self._teacher = anchor, teacher
        self.damage_weight = options.damage_weight
        self._max_tokens, self.texts, self.texts_forward = max_tokens, 0, 0
        self._criterion, self._options = criterion, options
        self._objective = Objective(
            options.target_weight, options.general_weight, options.log_odds,
            options.protect_weight, options.log_odds_weight, options.likelihood_power,
        )  # fmt: skip
        first = _drawn(material, options.candidate_pairs, seed)
        total = sum(site.out_features * site.in_features for site in sites)
        self._positions, self._gains = find_candidates(
            sites,
            lambda: chain(self._terms(first, report), self._lesson()),
            self._gain,
            max(int(SHARE * total), min(10 * largest, total)),
        )
        self._weights = {s.name: _at(s, s.matrix(), self._positions[s.name]) for s in sites}
        curvature = fisher(self._positions)
        self._damages = {
            name: criterion.damage(weight, curvature[name], options)
            for name, weight in self._weights.items()
        }
        self._draws = _draws(material, options.batch_size, seed)
        if anchor is not None:
            self._anchor_draws = _epochs(
                len(anchor.texts), options.batch_size, random.Random(f"{seed}/anchor")
            )
            self._anchor_part = next(self._anchor_draws)
        if teacher is not None:
            self._teacher_draws = _epochs(
                len(teacher.texts), options.batch_size, random.Random(f"{seed}/prompt")
            )
        self.rounds, self.losses, self._count = 1, list[float](), 0

    def _terms(self, material: Material, report: Report | None = None) -> Iterator[Tensor]:
        total = len(material.pairs)
        count = None
        if report is not None:
            count = step_counter(report, "finding candidates", len(ranks.share(range(total))))
        self.texts += 2 * (total + len(material.protected)) + len(material.general)
        # Masks of criteria without an anchor stay what they were, to the last bit.
        return objective_terms(
            self.model, material, self._objective, max_tokens=self._max_tokens,
            share_prompts=self._anchor is not None, progress=count,
        )  # fmt: skip

    def _lesson(self, part: Sequence[int] | None = None) -> Iterator[Tensor]:
        """Yield the terms of the prompted model's predictions; none without a teacher."""
        if self._teacher is not None:
            self.texts += len(self._teacher.texts if part is None else part)
            yield from self._teacher.terms(self.model, self._options.prompt_weight, part)

    def _gain(self, weight: Tensor, gradient: Tensor) -> Tensor:
        return self._criterion.gain(weight, gradient, self._options)

    def ranking(self, count: int, damage_weight: float | None = None) -> Ranking:
        """Return the ``count`` weights that should go, fewer where fewer pay.

        Args:
            count: Most weights.
            damage_weight: lambda; default the path's own.
        """
        price = self.rounds * (self.damage_weight if damage_weight is None else damage_weight)
        scores = {n: gain - price * self._damages[n] for n, gain in self._gains.items()}
        if self.lines is None:
            best = highest(scores, count)
        else:
            shapes = {site.name: site.shape for site in self.sites}
            best = highest_in_lines(scores, self._positions, shapes, count, self.lines)
        return Ranking(
            {name: self._positions[name][chosen] for name, chosen in best.items()},
            {name: scores[name][chosen] for name, chosen in best.items()},
        )

    def price(self, damage: float) -> float:
        """Return the lambda whose mask should do this damage, nats a token, to second order.

        It is the damage of all weights that pay, in whatever lines they lie.
        """
        gains = torch.cat([self._gains[name].cpu() for name in self._damages])
        damages = torch.cat([values.cpu() for values in self._damages.values()])
        chosen = (gains > 0) & (damages > 0)
        worth = gains[chosen].double() / damages[chosen]
        order = worth.argsort(descending=True)
        number = int((damages[chosen][order].double().cumsum(0) <= damage).sum())
        if number == len(order):
            return 0.0
        # Between the last weight that goes and the first that stays: at the worth of either,
        # rounding would say whether it goes.
        last, first = worth[order[max(number - 1, 0)]], worth[order[number]]
        return float((last * first).sqrt()) / self.rounds

    def damage(self, mask: Ranking) -> float:
        """Return what a mask should cost general text, nats a token, to second order."""
        total = 0.0
        for name, flat in mask.positions.items():
            places = torch.searchsorted(self._positions[name], flat)
            total += float(self._damages[name][places].double().sum())
        return total

    def trial(self, mask: Ranking, most: float = math.inf) -> Trial:
        """Read the round's general texts under a mask: what it costs them, and the gradient.

        One reading is both the trial and the anchor's part of the round.

        Args:
            mask: The mask.
            most: Divergence, nats a token, beyond which no gradient is taken.
        """
        sums = {name: torch.zeros_like(gain) for name, gain in self._gains.items()}
        if self._anchor is None:
            return Trial(mask, 0.0, sums)
        weight = self._options.kl_weight
        scale = weight or 1.0
        reading = _Reading(most * scale)
        terms = self._anchor.terms(self.model, scale, self._anchor_part, reading.count)
        with temporary_pruning(self.sites) as prune:
            prune(mask.positions)
            if weight:
                stream_gradients(self.sites, reading.affordable(terms), self._adding(sums))
            else:
                reading.forward(terms)
        self.texts += int(ranks.total(reading.texts))
        self.texts_forward += int(ranks.total(reading.texts_forward))
        divergence = ranks.total(reading.divergence) / scale
        too_far = ranks.total(float(reading.too_far)) > 0 or divergence > most
        return Trial(mask, divergence, None if too_far else sums)

    def _adding(self, sums: Mapping[str, Tensor]) -> Callable[[Site, Tensor], None]:
        """Return what adds a site's gradient at its candidates to its sum."""

        def add(site: Site, gradient: Tensor) -> None:
            sums[site.name] += _at(site, gradient, self._positions[site.name])

        return add

    def step(self, trial: Trial) -> None:
        """Take one round's gradient under a mask that was tried, and add up the gains.

        Args:
            trial: What :meth:`trial` returned, with its gradient.

        Raises:
            StatisticsError: A gradient is NaN or infinite.
        """
        if trial.gradient is None:
            raise ValueError("the mask goes too far: its trial has no gradient")
        sums, material = dict(trial.gradient), next(self._draws)
        add = self._adding(sums)
        with temporary_pruning(self.sites) as prune:
            prune(trial.mask.positions)
            self.losses.append(
                ranks.total(stream_gradients(self.sites, self._terms(material), add))
            )
            if self._anchor is not None:
                self._anchor_part = next(self._anchor_draws)
            if self._teacher is not None:
                lesson = self._lesson(next(self._teacher_draws))
                stream_gradients(self.sites, lesson, add)
            written = self.free_text.write(self.rounds) if self.free_text is not None else []
        if self.free_text is not None:
            advantages = self.free_text.weigh(written)  # the base model reads what the mask wrote
            with temporary_pruning(self.sites) as prune:
                prune(trial.mask.positions)
                stream_gradients(self.sites, self.free_text.terms(written, advantages), add)
        ranks.add_up(*sums.values())
        for name, gradient in sums.items():
            check_gradient(name, gradient)
            self._gains[name] += self._gain(self._weights[name], gradient)
        self.rounds += 1

    def grow(self, count: int, rounds: int) -> Iterator[int]:
        """Do ``rounds`` rounds, the mask growing evenly from what it is now; yield after each.

        Args:
            count: Weights masked at the end of it; the last choice is :meth:`ranking`'s.
            rounds: How many.
        """
        begin = self._count
        for number in range(1, rounds + 1):
            self.step(self.trial(self.ranking(self._count)))
            self._count = begin + (count - begin) * number // rounds
            yield number


class _Reading:
    """Reads general texts until their divergence is more than is allowed, then forward alone.

    A divergence only grows from text to text, so no graph of what follows is of use.
    """

    def __init__(self, most: float) -> None:
        self._most, self._read = most, 0
        self.divergence, self.texts, self.texts_forward, self.too_far = 0.0, 0, 0, False

    def count(self, texts: int) -> None:
        self._read += texts

    def affordable(self, terms: Iterator[Tensor]) -> Iterator[Tensor]:
        for term in terms:
            so_far = self.divergence + float(term.detach())
            if self._most < math.inf and not so_far <= self._most:  # NaN too
                self.divergence, self.too_far = so_far, True
                del term  # and its graph
                return self.forward(terms)
            self.divergence, self.texts = so_far, self._read
            yield term

    def forward(self, terms: Iterator[Tensor]) -> None:
        with torch.no_grad():
            for term in terms:
                self.divergence += float(term)
        self.texts_forward = self._read - self.texts


def _drawn(material: Material, count: int, seed: int) -> Material:
    """Return the material with so many of its pairs, drawn; 0, or more than there are: all."""
    pairs, others = len(material.pairs), (len(material.general), len(material.protected))
    if not count or count >= pairs:
        return material
    chosen = sorted(random.Random(f"{seed}/candidates").sample(range(pairs), count))
    return material.part(chosen, *map(range, others))


def _draws(material: Material, batch: int, seed: int) -> Iterator[Material]:
    """Return batches of the material without end: every epoch holds everything once."""
    lengths = (len(material.pairs), len(material.general), len(material.protected))
    streams = (
        _epochs(length, batch, random.Random(f"{seed}/{part}"))
        for part, length in enumerate(lengths)
    )
    return map(material.part, *streams)


def _epochs(length: int, batch: int, rng: random.Random) -> Iterator[list[int]]:
    """Return ``batch`` of ``length`` indices without end; 0, or more than there are: all."""
    batch = min(batch or length, length)
    waiting: list[int] = []
    while True:
        while len(waiting) < batch:
            waiting += rng.sample(range(length), length)
        yield waiting[:batch]
        waiting = waiting[batch:]


def _at(site: Site, matrix: Tensor, flat: Tensor) -> Tensor:
    """Return the values of a canonical matrix at flat positions, float32; copies only those."""
    return matrix[flat // site.in_features, flat % site.in_features].float()
