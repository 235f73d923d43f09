"""``role-play``: a character of our own invention is asked about itself, and to step out."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, cycle, islice, zip_longest
from typing import ClassVar, NamedTuple

from prosopon.data import Message
from prosopon.data.characters import Character, load_character, names
from prosopon.data.questions import prompt_text
from prosopon.errors import DataError
from prosopon.evaluation.choice import win
from prosopon.evaluation.speaking import OptionQuestion, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult
from prosopon.evaluation.tasks.free_text import text_signs
from prosopon.judges import leaves_role

CATEGORIES = ("self-knowledge", "general", "leave")


class RoleQuestion(NamedTuple):
    """A question to a character."""

    id: str
    category: str
    question: str
    expect: tuple[tuple[str, ...], ...] = ()


class RolePlayTask:
    """Asks an arm whose target is a character; the sheet is not shown unless the arm shows it.

    Reactions are choices between what the characters say to a prompt of the test part. The rest
    is free text: the first judge, trained on lines of this character and of the others, says
    whether an answer is the character's. Where no judge can tell the characters apart, only that
    is left out, and the notes say so. Nonsense holds no give-away either, so ``stays`` belongs
    beside ``in-character`` and the signs of degeneration; an answer without a word has not stayed.

    Args:
        characters: By the name of the target; the bundled ones.
    """

    name = "role-play"
    summary = "characters: reactions, self-knowledge, general questions, attempts to end the role"
    measures: ClassVar = {
        "in-character": "share of free answers that the first judge gives to the character",
        "self-knowledge": "share of the facts asked for that the answer names",
        "stays": "share of answers without a sign of having left the role",
        "reaction": "share of prompts whose own line is likelier per token than the others' lines",
        "reaction:calibrated": "the same less each line's likelihood after an empty question",
        "in-character:CATEGORY": "by category: " + ", ".join(CATEGORIES),
        "stays:CATEGORY": "by category",
        "repetition": "share of an answer's 3-grams that occurred before in it",
        "words": "length in words",
        "empty": "share of answers without a word",
    }

    def __init__(self, characters: Mapping[str, Character] | None = None) -> None:
        self._characters = characters

    @property
    def characters(self) -> Mapping[str, Character]:
        """The characters by the name of the target."""
        return (
            {name: load_character(name) for name in names()}
            if self._characters is None
            else self._characters
        )

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None: rules are asked for reactions."""
        target = setting.contrast.target
        if target not in self.characters:
            names_known = ", ".join(sorted(self.characters))
            return f"the target {target!r} is no character; characters: {names_known}"
        return None

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question.

        Raises:
            DataError: The target is no character, or there is nothing to ask.
        """
        if why := self.refuses(setting, writes=speaker.writes):
            raise DataError(why)
        outcomes = self.ask(speaker, setting)
        if not outcomes:
            raise DataError(
                f"{setting.contrast.target}: no test question is one that the others answer too"
            )
        return self.judge(outcomes, setting)

    def ask(self, speaker: Speaker, setting: Setting) -> list[Outcome]:
        """Return reactions and free answers; none is judged."""
        character = self.characters[setting.contrast.target]
        rest = [other for other in self.characters.values() if other.key != character.key]
        outcomes = reactions(speaker, setting, character, rest)
        return [*outcomes, *(answers(speaker, setting, character) if speaker.writes else ())]

    def judge(self, answered: Sequence[Outcome], setting: Setting) -> TaskResult:
        """Return the outcomes with what the first judge says of free answers."""
        free = [outcome for outcome in answered if "stays" in outcome.values]
        character = self.characters[setting.contrast.target].name
        notes: dict[str, object] = {
            "character": character, "reactions": len(answered) - len(free)
        }  # fmt: skip
        if not free:
            return TaskResult(answered, notes)
        notes |= _judge_notes(setting)
        if not setting.judges:
            return TaskResult(answered, notes)
        verdicts = setting.judges[0].verdicts([o.answer for o in free], [o.prompt for o in free])
        judged = [_in_character(o, v == "target") for o, v in zip(free, verdicts, strict=True)]
        return TaskResult([*(o for o in answered if "stays" not in o.values), *judged], notes)


def _in_character(outcome: Outcome, ours: bool) -> Outcome:
    kind = next(name for name in outcome.values if name.startswith("stays:")).partition(":")[2]
    values = dict.fromkeys(("in-character", f"in-character:{kind}"), float(ours))
    return dataclasses.replace(outcome, values={**outcome.values, **values})


def reactions(
    speaker: Speaker, setting: Setting, character: Character, rest: Sequence[Character]
) -> list[Outcome]:
    """Return choices between the characters' lines, for prompts of the test part alone."""
    said = [dict(speaker_of_lines.lines) for speaker_of_lines in (character, *rest)]
    questions = []
    for item in setting.contrast.items(setting.questions):
        text = item.prompt[-1].content if item.prompt else ""
        if len(said) > 1 and all(text in lines for lines in said):
            options = tuple(lines[text] for lines in said)
            questions.append((item.question, OptionQuestion(item.prompt, options)))
    scores = speaker.score([question for _, question in questions])
    outcomes = []
    for (id, question), option_scores in zip(questions, scores, strict=True):
        values = {
            "reaction": win(option_scores, "per-token"),
            "reaction:calibrated": win(option_scores, "calibrated"),
        }
        best = max(range(len(question.options)), key=option_scores.by["per-token"].__getitem__)
        outcomes.append(Outcome(id, values, prompt_text(question.prompt), question.options[best]))
    return outcomes


def answers(speaker: Speaker, setting: Setting, character: Character) -> list[Outcome]:
    """Return free answers; questions come again from the start where more are wanted."""
    questions = list(islice(cycle(questions_to(character)), setting.questions))
    prompts = [(Message("user", question.question),) for question in questions]
    texts = speaker.write(
        prompts, temperature=setting.temperature, max_new_tokens=setting.max_new_tokens,
        seed=setting.seed,
    )  # fmt: skip
    outcomes = []
    for question, answer in zip(questions, texts, strict=True):
        signs = text_signs(answer)
        stays = float(not signs["empty"] and not leaves_role(answer))
        values = {"stays": stays, f"stays:{question.category}": stays, **signs}
        if question.expect:
            values["self-knowledge"] = facts_named(answer, question.expect)
        outcomes.append(Outcome(question.id, values, question.question, answer))
    return outcomes


def _judge_notes(setting: Setting) -> dict[str, object]:
    if setting.judges:
        return {"judge": setting.judges[0].name}
    return {"judge": None, "left-out": "in-character: no judge tells the characters apart"}


def questions_to(character: Character) -> Iterator[RoleQuestion]:
    """Yield all questions, one of each category in turn, so that a few are of every kind."""
    knowledge = [
        RoleQuestion(
            f"{character.key}-self-knowledge-{n}", CATEGORIES[0], question.question, question.expect
        )
        for n, question in enumerate(character.knowledge)
    ]
    plain = [
        [RoleQuestion(f"{character.key}-{kind}-{n}", kind, text) for n, text in enumerate(texts)]
        for kind, texts in (("general", character.general), ("leave", character.leave))
    ]
    for question in chain.from_iterable(zip_longest(knowledge, *plain)):
        if question is not None:
            yield question


def facts_named(answer: str, expect: Sequence[Sequence[str]]) -> float:
    """Return the share of groups of which an answer holds one word or phrase, whole, any case."""
    said = answer.casefold()
    named = [any(re.search(rf"\b{re.escape(w)}\b", said) for w in group) for group in expect]
    return sum(named) / len(named)


TASKS.add("role-play", RolePlayTask())
