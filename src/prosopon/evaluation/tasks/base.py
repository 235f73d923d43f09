"""What a task is: questions to a speaker, and one outcome a question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from prosopon.data import Encoded
from prosopon.data.contrast import Contrast
from prosopon.data.splits import responses
from prosopon.errors import OptionError
from prosopon.evaluation.speaking import Prompt, Speaker
from prosopon.judges import BaseReader, Judge
from prosopon.registry import Registry, check_parts


@dataclass(frozen=True)
class Outcome:
    """What became of one question.

    Attributes:
        question: Id of what was asked, the cluster of every statistic: the same prompt of another
            arm, with other answers, its options swapped, or another seed has the same id.
        values: Measures by name, each a number where higher is not always better.
        prompt: What was asked, as text, for the report; may be empty.
        answer: What was answered, for the report; may be empty.
    """

    question: str
    values: Mapping[str, float]
    prompt: str = ""
    answer: str = ""


@dataclass(frozen=True)
class TaskResult:
    """What a task found.

    Attributes:
        outcomes: One for every question (and every repetition of one).
        notes: Whatever belongs to the task as a whole: the judge and its accuracy, reliability,
            JSON values.
    """

    outcomes: Sequence[Outcome]
    notes: Mapping[str, object] = field(default_factory=dict)

    @property
    def questions(self) -> int:
        """How many different questions were asked; repetitions of one are no new evidence."""
        return len({outcome.question for outcome in self.outcomes})


@dataclass(frozen=True)
class Setting:
    """What a task may use besides the speaker.

    Attributes:
        contrast: The contrast; its ``test`` part is what is asked.
        judges: Judges of free text, the first is the main one.
        general: Held-out general texts, for perplexity and as the base's yardstick of fluency.
        reader: The base model, which reads free text and answers the open questions itself; None
            where free text is judged without it.
        open_prompts: The open questions, as (question id, prompt); None for all of the test.
        questions: Most questions.
        examples: Calibration examples of each side that arms learned from, drawn with the seed;
            None for all of them.
        max_new_tokens: Longest free answer.
        seed: Seeds questions and draws.
        temperature: Of the open answers; 0 is greedy.
    """

    contrast: Contrast
    judges: Sequence[Judge] = ()
    general: Sequence[Encoded] = ()
    reader: BaseReader | None = None
    open_prompts: Sequence[tuple[str, Prompt]] | None = None
    questions: int = 100
    examples: int | None = None
    max_new_tokens: int = 48
    seed: int = 0
    temperature: float = 1.0

    def learned_texts(self) -> list[str]:
        """Return the target's answers that arms learned from; all where there are fewer."""
        target = self.contrast.calibration[0]
        if self.examples is not None and self.examples < len(target):
            target = self.contrast.drawn(self.examples, self.seed)[0]
        return responses(target.examples)

    def unseen_texts(self) -> list[str]:
        """Return as many different answers of the target that no arm learned from, or none.

        Answers to what is asked come last: whoever answers the same question says some of it.
        """
        learned = set(self.learned_texts())
        sides = (self.contrast.calibration[0], self.contrast.judge[0], self.contrast.test[0])
        texts = dict.fromkeys(text for side in sides for text in responses(side.examples))
        others = [text for text in texts if text not in learned]
        return others[: len(learned)] if len(others) >= len(learned) else []


class Task(Protocol):
    """A task is one small file in this package, registered with :data:`TASKS`.

    Attributes:
        name: As on the command line.
        summary: One line.
        measures: Names of the measures of its outcomes with one line each; the first is the
            one that tables and figures show.
    """

    @property
    def name(self) -> str:
        """Name, as in every output."""

    @property
    def summary(self) -> str:
        """One line."""

    @property
    def measures(self) -> Mapping[str, str]:
        """Names of the measures with a line each."""

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None.

        Args:
            setting: The setting.
            writes: Whether the speaker can write free text.
        """

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask.

        Raises:
            DataError: There is nothing to ask.
        """


@runtime_checkable
class JudgedTask(Task, Protocol):
    """A task whose answers are judged when the arm has gone, so that the base can read them.

    Its ``run`` is ``judge`` of what ``ask`` returns.
    """

    def ask(self, speaker: Speaker, setting: Setting) -> Any:
        """Ask, and return what was answered."""

    def judge(self, answered: Any, setting: Setting) -> TaskResult:
        """Judge what was answered, and return one outcome a question."""


def _check_task(name: str, task: Task) -> None:
    check_parts("task", "name", "summary", "measures", "refuses", "run")(name, task)
    if not task.measures:
        raise OptionError(f"task {name!r} has no measures")


TASKS: Registry[Task] = Registry("task", _check_task)
"""Every task by name."""
