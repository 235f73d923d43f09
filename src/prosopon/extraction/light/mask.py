"""A light mask from examples: material, split, path, choice."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from prosopon.criteria import ContrastiveTaylorOptions
from prosopon.data import Encoded, Example, Message, encode_all
from prosopon.data.dropout import with_word_dropout
from prosopon.data.openings import answer, opening, shared_opening, without_shared_beginning
from prosopon.data.pairs import EncodedPair, pair_examples
from prosopon.errors import OptionError
from prosopon.extraction.light.auto import choose
from prosopon.extraction.light.free import FreeText
from prosopon.extraction.light.path import Fisher, LightPath, Ranking
from prosopon.extraction.light.validation import Validation
from prosopon.gradients import Material, Objective, pair_log_odds
from prosopon.judges import MINIMUM, ClassifierJudge
from prosopon.models import Site
from prosopon.progress import Report

ExamplePair = tuple[Example, Example]
HELD_OUT = 5  # every fifth pair is held out
FEWEST = 20  # pairs, so that a handful can be held out
LONGEST = 128  # tokens of a free text
PLAIN = 500.0  # weight of free text for plain texts, which have no question to shorten


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
        weight = 0.0 if options.free == "auto" else options.free
        path = self._path(pairs, kept, options, sparsity, self._free(pairs, options, weight))
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
        judge = self._judge(rest)
        validation = self._validation(held, options.word_dropout, judge)
        weight = options.free
        if weight == "auto":
            weight = PLAIN if judge is not None and all(map(_plain, rest)) else 0.0
        path = self._path(
            rest, kept, options, options.most, self._free(rest, options, weight, judge)
        )
        choice = choose(
            path, validation,
            most=int(options.most * self._total), rounds=options.rounds,
            tolerance=options.tolerance,
            report=lambda done, total: self._say("pruning and choosing", done, total),
        )  # fmt: skip
        return self._mask(choice.ranking, choice.report | {"free": weight})

    def _path(
        self,
        pairs: Sequence[ExamplePair],
        kept: Sequence[ExamplePair],
        options: ContrastiveTaylorOptions,
        most: float,
        free: FreeText | None,
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
            free=free,
        )  # fmt: skip

    def _free(
        self,
        pairs: Sequence[ExamplePair],
        options: ContrastiveTaylorOptions,
        weight: float,
        judge: ClassifierJudge | None = None,
    ) -> FreeText | None:
        if not weight:
            return None
        judge = judge or self._judge(pairs)
        if judge is None:
            raise OptionError(
                f"option free={weight:g}: no judge of free text can be trained on these examples: "
                f"it needs {MINIMUM} different answers of each side that tell the two apart; "
                "free=0 does without"
            )
        learned = with_word_dropout(pairs, options.word_dropout, self._seed)
        return FreeText(
            self._model, self._tokenizer, [_asked(*pair) for pair in learned], judge,
            weight=weight, texts=options.texts, length=self._length(self._encode(learned)),
            seed=self._seed, max_length=self._max_length, max_tokens=self._max_tokens,
        )  # fmt: skip

    def _judge(self, pairs: Sequence[ExamplePair]) -> ClassifierJudge | None:
        """Return who says whose a text is; None where nobody can be trained that beats chance."""
        ours = [answer(pair[0], shared_opening(*pair)) for pair in pairs]
        theirs = [answer(pair[1], shared_opening(*pair)) for pair in pairs]
        if min(len(set(ours)), len(set(theirs))) < MINIMUM:
            return None
        fitted = ClassifierJudge.fit(ours, theirs, self._seed)
        return fitted if fitted.useful else None

    def _length(self, pairs: Sequence[EncodedPair]) -> int:
        """Return the most tokens of a free text: twice the longest answer, within reason."""
        longest = max(sum(target.response) for target, _ in pairs)
        return min(2 * longest, LONGEST, (self._max_length or 2 * LONGEST) // 2)

    def _validation(
        self, held: Sequence[ExamplePair], word_dropout: float, judge: ClassifierJudge | None
    ) -> Validation:
        encoded = self._encode(with_word_dropout(held, word_dropout, self._seed))
        return Validation(
            self._model, self._tokenizer, self._sites, encoded, self._held_out(),
            [_asked(*pair) for pair in held], judge,
            length=self._length(encoded), seed=self._seed, max_length=self._max_length,
        )  # fmt: skip

    def _encode(self, pairs: Sequence[ExamplePair]) -> list[EncodedPair]:
        sides = [
            encode_all([pair[side] for pair in pairs], self._tokenizer, max_length=self._max_length)
            for side in (0, 1)
        ]
        encoded = list(zip(*sides, strict=True))
        return [
            without_shared_beginning(pair) if _plain(texts) else pair
            for pair, texts in zip(encoded, pairs, strict=True)
        ]

    def _mask(self, ranking: Ranking, report: Mapping[str, Any] | None = None) -> LightMask:
        return LightMask(ranking.keep(self._sites), ranking.levels(), dict(report or {}))

    def _say(self, stage: str, done: int, total: int) -> None:
        if self._report is not None:
            self._report(stage, done, total)


def _plain(pair: ExamplePair) -> bool:
    return not any(side.prompt for side in pair)


def _asked(target: Example, opposite: Example) -> tuple[Message, ...]:
    """Return what free text answers: the prompt, or the opening of a plain text."""
    return target.prompt or (Message("assistant", opening(target, opposite)),)


def gather(fisher: Mapping[str, Tensor], positions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the values of whole matrices at flat positions."""
    return {name: fisher[name].reshape(-1)[flat] for name, flat in positions.items()}
