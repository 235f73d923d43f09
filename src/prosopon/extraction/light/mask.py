"""A light mask from examples: material, split, path, choice."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from prosopon.criteria import ContrastiveTaylorOptions
from prosopon.data import Encoded, Example, Message, encode_all
from prosopon.errors import OptionError
from prosopon.extraction.dropout import with_word_dropout
from prosopon.extraction.light.auto import MOST, Choice, choose
from prosopon.extraction.light.path import Fisher, LightPath, Ranking
from prosopon.extraction.light.validation import Validation
from prosopon.extraction.openings import answer, opening, shared_opening, without_shared_beginning
from prosopon.extraction.pairs import pair_examples
from prosopon.judges import MINIMUM, ClassifierJudge
from prosopon.models import Site
from prosopon.statistics import Material, Objective, pair_log_odds
from prosopon.statistics.objective import Pair

Report = Callable[[str, int, int], None]
ExamplePair = tuple[Example, Example]
HELD_OUT = 5  # every fifth pair is held out
FEWEST = 20  # pairs, so that a handful can be held out


@dataclass(frozen=True)
class LightMask:
    """A light mask with its ranking.

    Attributes:
        keep: Keep-mask of every site, bool [out, in], on the CPU.
        levels: Level of every pruned weight; see :class:`prosopon.subnetwork.Subnetwork`.
        report: How ``auto`` chose; empty for a given sparsity.
    """

    keep: dict[str, Tensor]
    levels: dict[str, Tensor]
    report: dict[str, Any] = field(default_factory=dict)


class LightMaker:
    """Makes light masks on one model.

    Args:
        model: A causal LM; its weights are as before after every call.
        tokenizer: Its tokenizer.
        sites: Its sites.
        general: General texts.
        held_out: General texts that only ``auto`` looks at, to judge by.
        fisher: Gives the Fisher diagonal at flat positions.
        max_length: Longest example in tokens.
        max_tokens: Most tokens, padding included, in one backward pass.
        seed: Seeds batches, splits and draws.
        report: Called with (stage, done, total).
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        sites: Sequence[Site],
        *,
        general: Sequence[Encoded],
        held_out: Callable[[], Sequence[Encoded]],
        fisher: Fisher,
        max_length: int | None = None,
        max_tokens: int = 2048,
        seed: int = 0,
        report: Report | None = None,
    ) -> None:
        self._model, self._tokenizer, self._sites = model, tokenizer, sites
        self._general, self._held_out, self._fisher = general, held_out, fisher
        self._max_length, self._max_tokens, self._seed = max_length, max_tokens, seed
        self._report = report
        self._total = sum(site.out_features * site.in_features for site in sites)

    def make(
        self,
        target: Sequence[Example],
        opposite: Sequence[Example],
        options: ContrastiveTaylorOptions,
        sparsity: float | Literal["auto"],
        protected: Sequence[tuple[Sequence[Example], Sequence[Example]]] = (),
    ) -> LightMask:
        """Make the target's mask.

        Args:
            target: The target's examples.
            opposite: The opposite's.
            options: Options of the criterion.
            sparsity: Share of weights, the most that may be pruned, or ``"auto"``.
            protected: Contrasts whose log-odds should stay.

        Raises:
            OptionError: ``auto`` with too few examples.
        """
        pairs = pair_examples(target, opposite)
        kept = [pair for ours, theirs in protected for pair in pair_examples(ours, theirs)]
        if sparsity == "auto":
            return self._auto(pairs, kept, options)
        path = self._path(pairs, kept, options, sparsity)
        for number in path.grow(int(sparsity * self._total), options.rounds - 1):
            self._say("pruning", number + 1, options.rounds)
        return self._mask(path.ranking(int(sparsity * self._total)))

    def _auto(
        self, pairs: list[ExamplePair], kept: list[ExamplePair], options: ContrastiveTaylorOptions
    ) -> LightMask:
        if len(pairs) < FEWEST:
            raise OptionError(
                f"--sparsity auto holds examples out to choose by and needs at least {FEWEST} "
                f"pairs; there are {len(pairs)}: give more examples, or a sparsity such as 0.003"
            )
        if not self._held_out():
            raise OptionError(
                "--sparsity auto holds general text out to judge by: --general needs at least 4 "
                "texts"
            )
        order = random.Random(f"{self._seed}/held out").sample(range(len(pairs)), len(pairs))
        held = [pairs[i] for i in sorted(order[: len(pairs) // HELD_OUT])]
        rest = [pairs[i] for i in sorted(order[len(pairs) // HELD_OUT :])]
        validation = self._validation(rest, held, options.word_dropout)
        path = self._path(rest, kept, options, MOST)
        choice = choose(
            path, validation,
            most=int(MOST * self._total), rounds=options.rounds, tolerance=options.tolerance,
            report=lambda done, total: self._say("pruning and choosing", done, total),
        )  # fmt: skip
        return self._mask(choice.ranking, choice)

    def _path(
        self,
        pairs: Sequence[ExamplePair],
        kept: Sequence[ExamplePair],
        options: ContrastiveTaylorOptions,
        most: float,
    ) -> LightPath:
        learned = with_word_dropout(pairs, options.word_dropout, self._seed)
        encoded, protected = self._encode(learned), self._encode(kept)
        material = Material(
            encoded,
            pair_log_odds(self._model, encoded, max_tokens=self._max_tokens),
            self._general if options.general else (),
            protected,
            pair_log_odds(self._model, protected, max_tokens=self._max_tokens),
        )
        objective = Objective(options.beta, options.general, options.odds, options.protect)
        return LightPath(
            self._model, self._sites, material, objective,
            most=int(most * self._total), damage=options.damage, fisher=self._fisher,
            batch=options.batch, seed=self._seed, max_tokens=self._max_tokens,
        )  # fmt: skip

    def _validation(
        self, rest: Sequence[ExamplePair], held: Sequence[ExamplePair], word_dropout: float
    ) -> Validation:
        ours = [answer(pair[0], shared_opening(*pair)) for pair in rest]
        theirs = [answer(pair[1], shared_opening(*pair)) for pair in rest]
        judge = None
        if min(len(set(ours)), len(set(theirs))) >= MINIMUM:
            fitted = ClassifierJudge.fit(ours, theirs, self._seed)
            judge = fitted if fitted.useful else None
        encoded = self._encode(with_word_dropout(held, word_dropout, self._seed))
        longest = max(sum(target.response) for target, _ in encoded)
        return Validation(
            self._model, self._tokenizer, self._sites, encoded, self._held_out(),
            [_asked(*pair) for pair in held], judge,
            length=min(2 * longest, 128), seed=self._seed,
        )  # fmt: skip

    def _encode(self, pairs: Sequence[ExamplePair]) -> list[Pair]:
        sides = [
            encode_all([pair[side] for pair in pairs], self._tokenizer, max_length=self._max_length)
            for side in (0, 1)
        ]
        encoded = list(zip(*sides, strict=True))
        plain = [not (target.prompt or opposite.prompt) for target, opposite in pairs]
        return [
            without_shared_beginning(pair) if bare else pair
            for pair, bare in zip(encoded, plain, strict=True)
        ]

    def _mask(self, ranking: Ranking, choice: Choice | None = None) -> LightMask:
        report = choice.report if choice else {}
        return LightMask(ranking.keep(self._sites), ranking.levels(), report)

    def _say(self, stage: str, done: int, total: int) -> None:
        if self._report is not None:
            self._report(stage, done, total)


def _asked(target: Example, opposite: Example) -> tuple[Message, ...]:
    """Return what free text answers: the prompt, or the opening of a plain text."""
    return target.prompt or (Message("assistant", opening(target, opposite)),)


def gather(fisher: Mapping[str, Tensor], positions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the values of whole matrices at flat positions."""
    return {name: fisher[name].reshape(-1)[flat] for name, flat in positions.items()}
