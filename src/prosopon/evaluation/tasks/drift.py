"""``drift``: does the persona hold over ten turns?"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import fmean
from typing import ClassVar

from prosopon.data import Message
from prosopon.data.grammar.exam import neutral_items
from prosopon.data.questions import prompt_text
from prosopon.errors import DataError
from prosopon.evaluation.speakers import ModelSpeaker, prompt_length
from prosopon.evaluation.speaking import Prompt, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult
from prosopon.evaluation.tasks.free_text import text_signs
from prosopon.judges import Judge

TURNS, EDGE = 10, 3  # turns of a dialogue, and how many of them are early, and late

NEUTRAL = (
    "Before we go on: which day comes after Tuesday?",
    "Thank you. How many hours are there between noon and midnight?",
    "Name three things that are kept in a kitchen drawer.",
    "Let me note that down. Is a tomato larger than a cherry?",
    "Tell me in a sentence what an umbrella is for.",
    "By the way, which is heavier, a stone or a feather of the same size?",
    "What would you put into a letter so that it arrives?",
    "All right. Count from one to five.",
)
"""Turns between the early and the late ones that have nothing to do with any persona."""


@dataclass
class Dialogue:
    """A dialogue as it grows.

    Attributes:
        pair: Number of the two dialogues with the same questions.
        questions: The user's turns.
        history: What was said so far.
        answers: The arm's turns.
        dropped: Turns that were not read any more when the last one was answered.
    """

    pair: int
    questions: tuple[str, ...]
    history: Prompt = ()
    answers: list[str] = field(default_factory=list)
    dropped: int = 0


class DriftTask:
    """Ten turns: three questions of the test, four neutral ones, three questions of the test.

    Dialogues come in twos that ask the same questions with early and late exchanged, so a
    question that is easier than others weighs the same at both ends. The history is the arm's
    own answers; where it outgrows the context, its oldest turns go, the arm's own prompt stays.

    A drop need not be a persona that fades: late answers may be broken, or off the subject. The
    shares that are neither's tell one from the other.
    """

    name = "drift"
    summary = "ten-turn dialogues: the persona's share in the first and the last three turns"
    measures: ClassVar = {
        "late": "share of the answers in turns 8 to 10 that the first judge gives to the target",
        "early": "the same in turns 1 to 3",
        "drop": "early less late",
        "late-neither": "share of the late answers that are neither's: broken or off the subject",
        "early-neither": "the same of the early ones",
        "repetition": "share of an answer's 3-grams that occurred before in it, all turns",
        "words": "length of an answer in words, all turns",
        "empty": "share of answers without a word, all turns",
        "late:JUDGE": "the late share by another judge; so are the other shares",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None."""
        if not writes:
            return "a rule chooses between options and cannot write"
        if not setting.judges:
            return "there is no judge of free text"
        if not topics(setting):
            return "the contrast is plain text: there is no dialogue that could go on"
        return None

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question.

        Raises:
            DataError: There is no question, or no judge.
        """
        if why := self.refuses(setting, writes=speaker.writes):
            raise DataError(why)
        return self.judge(self.ask(speaker, setting), setting)

    def ask(self, speaker: Speaker, setting: Setting) -> list[Dialogue]:
        """Return the dialogues."""
        dialogues = begin_dialogues(setting)
        for turn in range(TURNS):
            _answer(speaker, dialogues, turn, setting)
        return dialogues

    def judge(self, answered: Sequence[Dialogue], setting: Setting) -> TaskResult:
        """Return one outcome a dialogue."""
        outcomes = [_outcome(dialogue, setting.judges) for dialogue in answered]
        read = [TURNS - 1 - dialogue.dropped for dialogue in answered]
        notes = {
            "dialogues": len(answered),
            "turns": TURNS,
            "earlier-turns-read-at-the-end": {"least": min(read), "mean": fmean(read)},
            "topics": len(topics(setting)),
            "judge": setting.judges[0].name,
        }
        return TaskResult(outcomes, notes)


def topics(setting: Setting) -> list[str]:
    """Return the different test questions, without what stands before them."""
    prompts = [item.prompt for item in setting.contrast.items()]
    questions = [prompt[-1].content for prompt in prompts if prompt and prompt[-1].role == "user"]
    return list(dict.fromkeys(questions))


def begin_dialogues(setting: Setting) -> list[Dialogue]:
    """Return dialogues with their questions; two for every ten questions of the setting."""
    rng = random.Random(f"drift/{setting.seed}")
    questions, between = topics(setting), list(NEUTRAL)
    if setting.contrast.bundled:
        between = [question for question, _ in neutral_items(40, seed=setting.seed)]
    rng.shuffle(questions)
    source = cycle(questions)
    dialogues = []
    for pair in range(max(1, setting.questions // TURNS)):
        one, other = (list(islice(source, EDGE)) for _ in range(2))
        middle = rng.sample(between, TURNS - 2 * EDGE)
        dialogues += [
            Dialogue(pair, (*first, *middle, *last)) for first, last in ((one, other), (other, one))
        ]
    return dialogues


def within(speaker: Speaker, history: Prompt, max_new_tokens: int) -> tuple[Prompt, int]:
    """Return as much of a dialogue as the speaker can read, and how many turns are left out.

    Args:
        speaker: Who reads; one that is no model reads everything.
        history: User and assistant in turn; the last message is the user's and always stays.
        max_new_tokens: Room for the answer.
    """
    if not isinstance(speaker, ModelSpeaker) or speaker.max_length is None:
        return history, 0
    room = speaker.max_length - max_new_tokens
    dropped = 0
    while len(history) > 1:
        if prompt_length(speaker.rewritten(history), speaker.tokenizer) <= room:
            break
        history, dropped = history[2:], dropped + 1
    return history, dropped


def _answer(speaker: Speaker, dialogues: Sequence[Dialogue], turn: int, setting: Setting) -> None:
    prompts = []
    for dialogue in dialogues:
        dialogue.history = (*dialogue.history, Message("user", dialogue.questions[turn]))
        prompt, dialogue.dropped = within(speaker, dialogue.history, setting.max_new_tokens)
        prompts.append(prompt)
    answers = speaker.write(
        prompts, temperature=setting.temperature, max_new_tokens=setting.max_new_tokens,
        seed=setting.seed * TURNS + turn,
    )  # fmt: skip
    for dialogue, answer in zip(dialogues, answers, strict=True):
        dialogue.answers.append(answer)
        dialogue.history = (*dialogue.history, Message("assistant", answer))


def _outcome(dialogue: Dialogue, judges: Sequence[Judge]) -> Outcome:
    values: dict[str, float] = {}
    for number, judge in enumerate(judges):
        ends = dict[str, float]()
        for name, part in (("early", slice(None, EDGE)), ("late", slice(-EDGE, None))):
            verdicts = judge.verdicts(dialogue.answers[part], dialogue.questions[part])
            ends[name] = fmean(verdict == "target" for verdict in verdicts)
            ends[f"{name}-neither"] = fmean(verdict == "neither" for verdict in verdicts)
        ends["drop"] = ends["early"] - ends["late"]
        tail = f":{judge.name}" if number else ""
        values |= {f"{name}{tail}": value for name, value in ends.items()}
    signs = [text_signs(answer) for answer in dialogue.answers]
    values |= {name: fmean(sign[name] for sign in signs) for name in signs[0]}
    talk = prompt_text(dialogue.history[:-1])
    return Outcome(f"dialogue-{dialogue.pair}", values, talk, dialogue.answers[-1])


TASKS.add("drift", DriftTask())
