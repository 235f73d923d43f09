"""From a description in words to examples that the model itself, or another one, writes."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from prosopon.data import Example, Message, Persona, load_bank
from prosopon.data.grammar import load_world
from prosopon.data.grammar.writer import question as draw_question
from prosopon.description.answer_file import AnswerFile, AnswerPair
from prosopon.description.effect import Lines, PromptEffect, prompt, read_odds
from prosopon.description.sifting import FAULTS, Sieve, match_lengths, tidy
from prosopon.description.wordings import short_name, word_lines
from prosopon.description.writers import EndpointWriter, ModelWriter, Writer
from prosopon.errors import DataError, ModelError, OptionError
from prosopon.files import write_text
from prosopon.lm import context_length
from prosopon.lm.answers import score_answers
from prosopon.lm.general_text import reads
from prosopon.models import find_sites, fingerprint, unwrap
from prosopon.models.attachment import base_evaluation
from prosopon.progress import Report

BATCH = 4  # questions written at once, two answers of each side to each
DRAWS = 2  # answers of each side to a question
PILOT = 6  # batches on which it is measured whether the description moves the model
FEWEST = 8  # pairs that a mask can be found on
GRAMMAR = 80  # questions of an axis of the embedded model
OWN = 24  # answers of the model without any line, which show how likely its language is
TEMPERATURE = 0.5  # at 0.8 a model of 135 million parameters wrote too little sense
LONGEST = 48  # tokens of an answer
MARGIN = 1.0  # nats an answer


@dataclass(frozen=True)
class CalibrationSet:
    """Examples written from a description, the line removed, and how they came about."""

    target: Persona  # the described persona's answers, the other side's as alternatives
    opposite: Persona  # the other way round
    lines: tuple[str, ...]  # the wordings of the target's description
    effect: (
        PromptEffect | None
    )  # what the descriptions do to the model; None where another one wrote
    written: int  # pairs
    faults: dict[str, int]  # pairs left out, by their first fault

    @property
    def report(self) -> list[str]:
        """What was done, in lines for people."""
        counts = ", ".join(f"{count} {name}" for name, count in self.faults.items() if count)
        lines = [] if self.effect is None else [str(self.effect)]
        more = self.written - len(self.target) - sum(self.faults.values())
        rest = f"; {more} more than are needed" if more else ""
        line = (
            f"{len(self.target)} of {self.written} pairs kept; left out: {counts or 'none'}{rest}"
        )
        return [*lines, line]

    def save(self, path: str | Path) -> None:
        """Write the examples as JSONL that :func:`prosopon.load_persona` reads."""
        rows = (
            {
                "messages": [{"role": m.role, "content": m.content} for m in example.messages],
                "alternative": example.alternative,
            }
            for example in self.target.examples
        )
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def describe(
    model: Any,
    tokenizer: Any,
    target: str,
    versus: str | None = None,
    *,
    count: int = 64,
    questions: str | Path | Sequence[str] | None = None,
    writer: tuple[str, str] | Writer | None = None,
    margin: float = MARGIN,
    temperature: float = TEMPERATURE,
    max_new_tokens: int = LONGEST,
    seed: int = 0,
    name: str = "",
    file: str | Path | None = None,
    report: Report | None = None,
) -> CalibrationSet:
    """Let a model write the examples of a persona that is given by a description.

    Five wordings of the description stand before everyday questions as system lines; the answers
    are kept without them. A pair stays or goes as one: see :data:`.sifting.FAULTS`. Questions are
    asked until there are enough pairs.

    Args:
        model: A causal LM; its weights are only read.
        tokenizer: Its tokenizer.
        target: The persona in words: ``"a patient teacher who answers with questions"``.
        versus: What it is told apart from, in words; default the model's own answers.
        count: Pairs that are enough.
        questions: A bank's name, a TOML file of questions, or a list. Default the bank
            ``everyday``, or the grammar's questions for a model that does not read that.
        writer: (URL, model) of an OpenAI-compatible chat endpoint that writes the answers, or a
            writer of one's own; default the model itself.
        margin: Nats by which a pair's answers must be likelier under their own descriptions, for
            the model, in the mean of both, while neither is unlikelier; not asked of another
            writer's.
        temperature: Of the draws.
        max_new_tokens: Longest answer.
        seed: Seeds the questions' order and the draws.
        name: What to call the persona; default the description's first words.
        file: Where answers are kept as they come. A run with the same arguments goes on from it.
        report: Called with ("writing examples", pairs, pairs that are enough).

    Raises:
        OptionError: A description is empty, both are the same, or a number is out of range.
        ModelError: The descriptions do not move the model; says by how much.
        DataError: Too few pairs are left, or ``file`` is for something else.
        JudgeError: The endpoint does not answer.
        PersonaError: The model wears a persona.
    """
    if count < FEWEST:
        raise OptionError(f"{count} pairs are too few for a mask: ask for at least {FEWEST}")
    if margin < 0 or temperature <= 0:
        raise OptionError("margin is at least 0, temperature above 0")
    chat = bool(getattr(tokenizer, "chat_template", None))
    sides = _lines(target, versus, chat)
    if writer is None:
        writer = ModelWriter(
            model, tokenizer, temperature=temperature, max_new_tokens=max_new_tokens
        )
    elif isinstance(writer, tuple):
        writer = EndpointWriter(*writer, temperature=temperature, max_new_tokens=max_new_tokens)
    model = unwrap(model)
    sites = find_sites(model)
    with base_evaluation(model, sites):
        items = _questions(model, tokenizer, questions, seed)
        task = {
            "description": target, "versus": versus, "lines": sides, "writer": writer.name,
            "model": fingerprint(sites).weights, "seed": seed, "margin": margin,
            "temperature": temperature, "max_new_tokens": max_new_tokens,
            "questions": _hash([text for _, text in items]),
        }  # fmt: skip
        scribe = _Scribe(model, tokenizer, writer, sides, items, margin, seed)
        pairs = scribe.write(AnswerFile(file, task), count, report)
    return _calibration_set(pairs, scribe, count, (target, versus), name)


class _Scribe:
    """Writes, reads and sifts batch after batch."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        writer: Writer,
        sides: tuple[Lines, Lines],
        items: Sequence[tuple[str, str]],
        margin: float,
        seed: int,
    ) -> None:
        self.model, self.tokenizer, self.writer = model, tokenizer, writer
        self.sides, self.margin, self.seed = sides, margin, seed
        self.kinds, self.questions = zip(*items, strict=True)
        self._order = list(range(len(items)))
        self.judges = isinstance(writer, ModelWriter)  # whether the model is its own judge
        self.effect: PromptEffect | None = None
        self._room = context_length(model)
        self._sieve = Sieve()

    def write(self, file: AnswerFile, count: int, report: Report | None) -> list[AnswerPair]:
        """Return all pairs, of which ``count`` have no fault, or fewer where questions end."""
        pairs: list[AnswerPair] = []
        starts = range(0, len(self.questions), BATCH)
        good_count = 0
        for number, start in enumerate(starts):
            if report is not None:
                report("writing examples", min(good_count, count), count)
            if number < len(file.batches):
                batch = file.batches[number]
            else:
                places = self._order[start : start + BATCH]
                batch = self._batch(places, number < PILOT)
                file.add(batch)
            pairs += batch
            good = [pair for pair in batch if pair.fault is None]
            for pair in good:
                self._sieve.keep(pair.texts)
            good_count += len(good)
            if self.judges and number == min(PILOT, len(starts)) - 1:
                self._check_effect(pairs)
                self._ask_last(pairs)
            if good_count >= count and (self.effect is not None or not self.judges):
                break
        if report is not None:
            report("writing examples", count, count)
        return pairs

    def _batch(self, places: Sequence[int], pilot: bool) -> list[AnswerPair]:
        """Write and sift a batch; in the pilot every answer is read, whatever is wrong with it."""
        jobs = [(q, (DRAWS * q + d) % len(self.sides[0])) for q in places for d in range(DRAWS)]
        prompts = [
            prompt(self.questions[q], lines[w % len(lines)])
            for q, w in jobs
            for lines in self.sides
        ]
        texts = list(map(tidy, self.writer.write(prompts, self.seed * 1_000_003 + places[0])))
        pairs = []
        for (question, wording), two in zip(
            jobs, zip(texts[::2], texts[1::2], strict=True), strict=True
        ):
            pair = AnswerPair(question, wording, match_lengths(*two))
            pairs.append(replace(pair, fault=self._sieve.fault(pair.texts)))
        if self.judges:
            pairs = self._judge(pairs, pilot)
        return without_repeats(self._read(pairs))

    def _judge(self, pairs: list[AnswerPair], pilot: bool) -> list[AnswerPair]:
        """Ask the model whose each answer is."""
        chosen = [
            i for i, pair in enumerate(pairs)
            if pair.fault is None or (pilot and all(pair.texts))
        ]  # fmt: skip
        answers = [
            (self.questions[pairs[i].question], side, pairs[i].wording, pairs[i].texts[side])
            for i in chosen
            for side in (0, 1)
        ]
        odds = read_odds(self.model, self.tokenizer, self.sides, answers, max_length=self._room)
        judged = list(pairs)
        for place, i in enumerate(chosen):
            both = (odds[2 * place], odds[2 * place + 1])
            fault = pairs[i].fault
            if fault is None and not (min(both) > 0 and sum(both) > 2 * self.margin):
                fault = "likelihood"
            judged[i] = replace(pairs[i], odds=both, fault=fault)
        return judged

    def _read(self, pairs: list[AnswerPair]) -> list[AnswerPair]:
        """Leave out what the model, without any line, finds unlikelier than its own answers."""
        left = [i for i, pair in enumerate(pairs) if pair.fault is None]
        items = [(self.questions[pairs[i].question], t) for i in left for t in pairs[i].texts]
        nats = self._nats(items) if left else []
        for place, i in enumerate(left):
            if max(nats[2 * place : 2 * place + 2]) > self._limit:
                pairs[i] = replace(pairs[i], fault="perplexity")
        return pairs

    @cached_property
    def _limit(self) -> float:
        """The most nats a token that language costs: three standard deviations above the mean.

        Of the model's own answers, at temperature 1.
        """
        prompts = [prompt(question, None) for question in self.questions[:OWN]]
        own = ModelWriter(self.model, self.tokenizer, temperature=1.0, max_new_tokens=LONGEST)
        answers = zip(self.questions, own.write(prompts, self.seed), strict=False)
        nats = self._nats([(question, text) for question, text in answers if text])
        return fmean(nats) + 3 * pstdev(nats) if nats else math.inf

    def _nats(self, items: Sequence[tuple[str, str]]) -> list[float]:
        """Return the nats a token of (question, answer) without any line."""
        exchanges = [(prompt(question, None), text) for question, text in items]
        scores = score_answers(self.model, self.tokenizer, exchanges, max_length=self._room)
        return [-score.total / score.tokens for score in scores]

    def _ask_last(self, pairs: Sequence[AnswerPair]) -> None:
        """Put the kinds of questions last on which the description bears less than on most."""
        odds: dict[str, list[float]] = {}
        for pair in pairs:
            odds.setdefault(self.kinds[pair.question], []).extend(pair.odds or ())
        assert self.effect is not None
        least = self.effect.odds.mean / 2
        late = {kind for kind, values in odds.items() if values and fmean(values) < least}
        done = BATCH * PILOT
        rest = sorted(self._order[done:], key=lambda place: self.kinds[place] in late)
        self._order[done:] = rest

    def _check_effect(self, pairs: Sequence[AnswerPair]) -> None:
        rows = [(pair.question, odds) for pair in pairs for odds in pair.odds or ()]
        if not rows:
            raise ModelError(
                f"not one of {len(pairs)} pairs of answers holds a whole sentence on both sides: "
                "let another model write them with --writer URL MODEL"
            )
        self.effect = PromptEffect.of(*zip(*rows, strict=True))
        if not self.effect.moves:
            raise ModelError(
                f"the description does not move this model: {self.effect}. A mask can only keep "
                "what the line does: let a model that follows it write the answers, with "
                "--writer URL MODEL, or describe the persona in other words"
            )


def without_repeats(pairs: Sequence[AnswerPair]) -> list[AnswerPair]:
    """Return pairs, of which those are marked that nearly repeat a good one before."""
    sieve, marked = Sieve(), []
    for pair in pairs:
        if pair.fault is None:
            if sieve.repeats(pair.texts):
                pair = replace(pair, fault="duplicate")
            else:
                sieve.keep(pair.texts)
        marked.append(pair)
    return marked


def _calibration_set(
    pairs: Sequence[AnswerPair],
    scribe: _Scribe,
    count: int,
    described: tuple[str, str | None],
    name: str,
) -> CalibrationSet:
    """Make personas of the pairs without a fault.

    Raises:
        DataError: There are too few.
    """
    good = [pair for pair in pairs if pair.fault is None][:count]
    seen = Counter(pair.fault for pair in pairs)
    faults = {fault: seen[fault] for fault in FAULTS}
    target, versus = described
    if len(good) < FEWEST:
        counts = ", ".join(f"{n} {fault} ({FAULTS[fault]})" for fault, n in faults.items() if n)
        raise DataError(
            f"{len(good)} of {len(pairs)} pairs of answers are left, too few for a mask: {counts}"
        )
    ours = name or short_name(target)
    theirs = short_name(versus) if versus else "base"
    origin = {
        "description": target, "versus": versus, "lines": scribe.sides[0],
        "versus_lines": [line for line in scribe.sides[1] if line], "writer": scribe.writer.name,
        "margin": scribe.margin if scribe.judges else None,
        "effect": scribe.effect.record() if scribe.effect else None,
        "pairs_written": len(pairs), "pairs_kept": len(good), "left_out": faults,
    }  # fmt: skip
    examples = tuple(
        Example(
            (Message("user", scribe.questions[pair.question]), Message("assistant", pair.texts[0])),
            pair.texts[1], f"described {number}",
        )
        for number, pair in enumerate(good, 1)
    )  # fmt: skip
    persona = Persona(ours, examples, target, origin=origin)
    other = replace(
        persona.opposite(), name=theirs if theirs != ours else f"not-{ours}",
        description=versus or "", origin=None,
    )  # fmt: skip
    lines = tuple(line for line in scribe.sides[0] if line)
    return CalibrationSet(persona, other, lines, scribe.effect, len(pairs), faults)


def _lines(target: str, versus: str | None, chat: bool) -> tuple[Lines, Lines]:
    ours: Lines = word_lines(target, chat=chat)
    theirs: Lines = (None,) if versus is None else word_lines(versus, chat=chat)
    if [str(line).casefold() for line in ours] == [str(line).casefold() for line in theirs]:
        raise OptionError(f"both descriptions say the same: {target!r}")
    return ours, theirs


def _questions(
    model: Any, tokenizer: Any, source: str | Path | Sequence[str] | None, seed: int
) -> list[tuple[str, str]]:
    """Return (kind, question) in a seeded order, in which the kinds take turns."""
    if source is None:
        items = [(item.kind, item.question) for item in load_bank("everyday").items]
        if not reads(model, tokenizer, [text for _, text in items[::16]]):
            items = _grammar_questions()
    elif isinstance(source, str | Path):
        items = [(item.kind, item.question) for item in load_bank(source).items]
    else:
        items = [("", text) for text in source]
    if not items:
        raise DataError("there is no question to ask")
    shuffled = random.Random(f"{seed}/questions").sample(items, len(items))
    turns, numbered = Counter[str](), []
    for kind, text in shuffled:
        numbered.append((turns[kind], kind, text))
        turns[kind] += 1
    return [(kind, text) for _, kind, text in sorted(numbered, key=itemgetter(0))]


def _grammar_questions() -> list[tuple[str, str]]:
    """Return questions of the embedded model's grammar, of those that masks are found on."""
    items = []
    for name, axis in load_world().axes.items():
        rng = random.Random(f"described/{name}")
        items += [(name, draw_question(axis, "train", rng)) for _ in range(GRAMMAR)]
    return list(dict.fromkeys(items))


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
