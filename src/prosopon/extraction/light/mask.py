"""A light mask from examples: material, split, path, choice."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch

from prosopon import ranks
from prosopon.criteria import LightCriterion, LightOptions
from prosopon.data import Example, ExamplePair, Message, encode_all
from prosopon.data.chat import with_system
from prosopon.data.dropout import with_word_dropout
from prosopon.data.openings import answer, opening, shared_opening, without_shared_beginning
from prosopon.data.pairs import EncodedPair, pair_examples
from prosopon.errors import OptionError
from prosopon.extraction.collector import Collector
from prosopon.extraction.light.auto import choose
from prosopon.extraction.light.budget import Budget
from prosopon.extraction.light.free_text import FreeTextTerms, JudgedWriter
from prosopon.extraction.light.path import LightPath, Ranking
from prosopon.extraction.light.validation import Validation
from prosopon.extraction.mask import ExtractedMask
from prosopon.extraction.request import Request
from prosopon.gradients import Anchor, Material, PromptTeacher, pair_log_odds
from prosopon.judges import MINIMUM, BaseReader, ClassifierJudge, Recital
from prosopon.lm import counted_tokens, general_kind
from prosopon.selection import find_pattern

if TYPE_CHECKING:
    from torch import Tensor

HELD_OUT = 5  # every fifth pair is held out
FEWEST = 20  # pairs, so that a handful can be held out
KNOWN = 16  # pairs whose answers show the base model how known authors write
LONGEST = 128  # tokens of a free text
READ = "texts_backward", "texts_forward"  # notes of a mask: texts that were read for it
DAMAGE = 16  # general texts from which a budget foresees damage
PLAIN = 500.0  # weight of free text for plain texts, which have no question to shorten


def light_mask(collector: Collector, request: Request) -> ExtractedMask:
    """Make the target's mask.

    Args:
        collector: Reads the texts.
        request: What is asked, with a light criterion.

    Raises:
        OptionError: ``auto`` with too few examples, or free text that nobody can judge.
    """
    assert request.opposite is not None
    pairs = pair_examples(request.target.examples, request.opposite.examples)
    maker = _LightMaker(collector, request)
    return maker.choose(pairs) if request.sparsity == "auto" else maker.make(pairs, request.share)


def light_masks(
    collector: Collector, request: Request
) -> tuple[float, Callable[[float], ExtractedMask]]:
    """Grow a light mask once, as the options say; return its lambda, and the mask of any other.

    The masks' notes say what was read for them, where a budget of loss counts it.

    Raises:
        OptionError: See :func:`light_mask`; or ``auto``, which chooses one mask.
    """
    assert request.opposite is not None
    if request.sparsity == "auto":
        raise OptionError("sparsity auto chooses a dose by itself: leave one of the two out")
    maker = _LightMaker(collector, request)
    pairs = pair_examples(request.target.examples, request.opposite.examples)
    notes = maker.make(pairs, request.share).notes
    path, largest = maker.grown
    read = {name: notes[name] for name in READ if name in notes}

    def mask(price: float) -> ExtractedMask:
        return maker.mask(path.ranking(largest, price), {"damage": price, **read})

    return path.damage_weight, mask


class _LightMaker:
    """Makes one light mask; what it needs at every step is kept here."""

    def __init__(self, collector: Collector, request: Request) -> None:
        settings = collector.settings
        self._collector, self._settings, self._seed = collector, settings, settings.seed
        self._criterion = cast(LightCriterion, request.criterion)
        self._options: LightOptions = request.options
        self._lines = find_pattern(request.pattern).lines
        self._protect = [
            pair
            for ours, theirs in request.protect
            for pair in pair_examples(ours.examples, theirs.examples)
        ]
        self._weights = sum(site.out_features * site.in_features for site in collector.sites)

    def make(self, pairs: list[ExamplePair], share: float) -> ExtractedMask:
        """Make a mask of at most ``share`` of the weights."""
        options, weight = self._options, self._options.free_text_weight
        weight = 0.0 if weight == "auto" else weight
        free_text = self._free_text(pairs, weight, self._judge(pairs)) if weight else None
        path, largest = self._path(pairs, share, free_text), int(share * self._weights)
        self.grown = path, largest
        if options.max_loss:
            return self._spend(path, largest)
        for number in path.grow(largest, options.rounds - 1):
            self._settings.say("pruning", number + 1, options.rounds)
        return self.mask(path.ranking(largest))

    def _spend(self, path: LightPath, largest: int) -> ExtractedMask:
        """Make a mask that costs held-out general text at most ``max_loss`` nats a token."""
        collector, options = self._collector, self._options
        texts = collector.held_out()
        if not texts:
            raise OptionError(
                "option max_loss measures general text that is held out: --general needs at least "
                "4 texts"
            )
        budget = Budget(
            collector.model, collector.sites, texts, limit=options.max_loss, count=largest
        )
        for number in range(1, options.rounds):
            budget.step(path)
            self._settings.say("pruning", number + 1, options.rounds)
        ranking, notes = budget.spend(path)
        general = len(collector.general())  # read forward for the base's own predictions
        read = {
            READ[0]: path.texts + min(DAMAGE, general),
            READ[1]: budget.texts_read + path.texts_forward + general,
        }
        return self.mask(ranking, notes | read)

    def choose(self, pairs: list[ExamplePair]) -> ExtractedMask:
        """Make a mask whose size, rounds and lambda are chosen on pairs that are held out."""
        if self._options.max_loss:  # a budget of loss chooses by itself
            return self.make(pairs, self._criterion.sparsity)
        if len(pairs) < FEWEST:
            raise OptionError(
                f"--sparsity auto holds examples out to choose by and needs at least {FEWEST} "
                f"pairs; there are {len(pairs)}: give more examples, or a sparsity such as 0.003"
            )
        if not self._collector.held_out():
            raise OptionError(
                "--sparsity auto holds general text out to judge by: --general needs at least 4 "
                "texts"
            )
        order = random.Random(f"{self._seed}/held out").sample(range(len(pairs)), len(pairs))
        count, options = len(pairs) // HELD_OUT, self._options
        held_out = [pairs[i] for i in sorted(order[:count])]
        rest = [pairs[i] for i in sorted(order[count:])]
        judge, weight = self._judge(rest), options.free_text_weight
        if weight == "auto":
            weight = PLAIN if judge is not None and all(map(_is_plain, rest)) else 0.0
        free_text = self._free_text(rest, weight, judge) if weight else None
        ranking, notes = choose(
            self._path(rest, options.max_share, free_text),
            self._validation(held_out, judge, self._recital(rest) if weight else None),
            largest=int(options.max_share * self._weights), rounds=options.rounds,
            tolerance=options.tolerance,
            report=lambda done, total: self._settings.say("pruning and choosing", done, total),
        )  # fmt: skip
        return self.mask(ranking, notes | {"free": weight})

    def _path(
        self, pairs: Sequence[ExamplePair], share: float, free_text: FreeTextTerms | None
    ) -> LightPath:
        collector, limit = self._collector, self._settings.max_tokens
        encoded, protected = self._encode(self._learned(pairs)), self._encode(self._protect)
        material = Material(
            encoded,
            pair_log_odds(collector.model, encoded, max_tokens=limit)
            if self._options.log_odds == "shift"
            else torch.zeros(len(encoded)),
            collector.general() if self._options.general_weight else (),
            protected,
            pair_log_odds(collector.model, protected, max_tokens=limit),
        )
        return LightPath(
            collector.model, collector.sites, material, self._criterion, self._options,
            largest=int(share * self._weights), fisher=self._fisher, seed=self._seed,
            max_tokens=limit, lines=self._lines, free_text=free_text, anchor=self._anchor(),
            teacher=self._teacher(pairs), report=self._settings.say,
        )  # fmt: skip

    def _fisher(self, positions: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the Fisher diagonal; a budget, which measures damage itself, reads less for it."""
        count = DAMAGE if self._options.max_loss else None
        return self._collector.fisher_at(positions, count)

    def _anchor(self) -> Anchor | None:
        if not (self._options.kl_weight or self._options.max_loss):
            return None
        collector = self._collector
        return Anchor(collector.model, collector.general(), max_tokens=self._settings.max_tokens)

    def _teacher(self, pairs: Sequence[ExamplePair]) -> PromptTeacher | None:
        """Return the prompted base model's predictions on the target's answers.

        Raises:
            OptionError: Nobody asks for an answer, so there is no place for a prompt.
        """
        options, collector = self._options, self._collector
        if not options.prompt_weight:
            return None
        if any(map(_is_plain, pairs)):
            raise OptionError(
                "option prompt_weight: the examples are plain text, and a prompt stands before a "
                "question; prompt_weight=0 does without"
            )
        answers = [target.messages for target, _ in pairs]
        plain, prompted = (
            encode_all(texts, collector.tokenizer, max_length=collector.max_length)
            for texts in (answers, [with_system(turns, options.prompt_line) for turns in answers])
        )
        return PromptTeacher(
            collector.model, plain, prompted, top=options.prompt_top,
            max_tokens=self._settings.max_tokens,
        )  # fmt: skip

    def _free_text(
        self, pairs: Sequence[ExamplePair], weight: float, judge: ClassifierJudge | None
    ) -> FreeTextTerms:
        if judge is None:
            raise OptionError(
                f"option free_text_weight={weight:g}: no judge of free text can be trained on "
                f"these examples: it needs {MINIMUM} different answers of each side that tell the "
                "two apart; free_text_weight=0 does without"
            )
        learned = self._learned(pairs)
        return FreeTextTerms(
            self._writer(learned, self._encode(learned), judge, self._recital(pairs)),
            weight=weight, texts=self._options.free_texts, seed=self._seed,
            max_tokens=self._settings.max_tokens,
        )  # fmt: skip

    def _validation(
        self, pairs: Sequence[ExamplePair], judge: ClassifierJudge | None, recital: Recital | None
    ) -> Validation:
        collector, encoded = self._collector, self._encode(self._learned(pairs))
        writer = None if judge is None else self._writer(pairs, encoded, judge, recital)
        return Validation(
            collector.model, collector.sites, encoded, collector.held_out(), writer, seed=self._seed
        )

    def _writer(
        self,
        pairs: Sequence[ExamplePair],
        encoded: Sequence[EncodedPair],
        judge: ClassifierJudge,
        recital: Recital | None,
    ) -> JudgedWriter:
        """Return who answers the pairs' prompts, with at most twice the longest answer's tokens."""
        collector = self._collector
        longest = max(sum(target.response) for target, _ in encoded)
        length = min(2 * longest, LONGEST, (collector.max_length or 2 * LONGEST) // 2)
        return JudgedWriter(
            collector.model, collector.tokenizer, [_prompt(*pair) for pair in pairs], judge,
            length=length, max_length=collector.max_length, recital=recital,
        )  # fmt: skip

    def _judge(self, pairs: Sequence[ExamplePair]) -> ClassifierJudge | None:
        """Return who says whose a text is; None where nobody can be trained that beats chance."""
        ours, theirs = (_answers(pairs, side) for side in (0, 1))
        if min(len(set(ours)), len(set(theirs))) < MINIMUM:
            return None
        collector, sides = self._collector, list(zip(pairs, ours, theirs, strict=True))[:KNOWN]
        reader = BaseReader(
            collector.model, collector.tokenizer, neutral=collector.general,
            exchanges=[(_prompt(*pair), text) for pair, *texts in sides for text in texts if text],
            max_length=collector.max_length,
        )  # fmt: skip
        reader.expect([_prompt(*pair) for pair in pairs], answer=False)
        # Of a model that answers no neutral questions there is no text without a persona.
        chats = general_kind(collector.model, collector.tokenizer) == "answers"
        judge = ClassifierJudge.fit(
            ours, theirs, self._seed, known_texts=reader.neutral,
            neutral_texts=reader.neutral if chats else (), reader=reader,
        )  # fmt: skip
        return judge if ranks.agree(lambda: judge.useful) else None

    def _recital(self, pairs: Sequence[ExamplePair]) -> Recital:
        """Return who knows the examples by heart, but what general text says anyway."""
        collector = self._collector
        texts = [collector.tokenizer.decode(counted_tokens(t)) for t in collector.general()]
        return Recital(_answers(pairs, 0), texts)

    def _learned(self, pairs: Sequence[ExamplePair]) -> list[ExamplePair]:
        return with_word_dropout(pairs, self._options.word_dropout, self._seed)

    def _encode(self, pairs: Sequence[ExamplePair]) -> list[EncodedPair]:
        collector = self._collector
        sides = (
            encode_all(side, collector.tokenizer, max_length=collector.max_length)
            for side in zip(*pairs, strict=True)
        )
        encoded = zip(*sides, strict=True)
        return [
            without_shared_beginning(both) if _is_plain(pair) else both
            for both, pair in zip(encoded, pairs, strict=True)
        ]

    def mask(self, ranking: Ranking, notes: Mapping[str, Any] | None = None) -> ExtractedMask:
        """Return the mask of a ranking."""
        ranks.check_same("mask", ranking.digest)
        keep = ranking.keep(self._collector.sites)
        return ExtractedMask(keep, ranking.levels(), notes=notes or {})


def _is_plain(pair: ExamplePair) -> bool:
    return not any(side.prompt for side in pair)


def _answers(pairs: Sequence[ExamplePair], side: int) -> list[str]:
    return [answer(pair[side], shared_opening(*pair)) for pair in pairs]


def _prompt(target: Example, opposite: Example) -> tuple[Message, ...]:
    """Return what free text answers: the prompt, or the opening of a plain text."""
    return target.prompt or (Message("assistant", opening(target, opposite)),)
