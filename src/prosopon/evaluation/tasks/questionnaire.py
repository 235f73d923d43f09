"""``mbti`` and ``big-five``: statements to agree with, by likelihood, in both orders."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from prosopon.data import Message
from prosopon.data.questionnaires import Item, Questionnaire, Scale, load_questionnaire
from prosopon.evaluation.choice import win
from prosopon.evaluation.psychometrics import acquiescence, cronbach_alpha, keyed, letter, score
from prosopon.evaluation.speaking import OptionQuestion, Prompt, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult

LABELS = (
    "strongly disagree",
    "disagree",
    "neither agree nor disagree",
    "agree",
    "strongly agree",
)
VALUES = (-1.0, -0.5, 0.0, 0.5, 1.0)
LETTERS = ("A", "B", "C", "D", "E")

WORDINGS = (
    "How far do you agree with this statement?",
    "Here is a statement. Say how well it fits you.",
    "Somebody says this sentence. Would you say it of yourself?",
    "Read the sentence and tell how true it is for you.",
)
"""Ways to ask: a model is one respondent, so its reliability is taken over administrations."""


class QuestionnaireTask:
    """Asks every item in several wordings, each with the options in both orders.

    The options are lettered A to E, and the letter's likelihood per token decides; equal ones
    share the answer. An arm that only likes a letter says the contrary in the other order, so it
    scores 0 on every scale and its order difference is the largest there is.

    Cronbach's alpha is over administrations (wording and order): whether the items of a scale
    rise and fall together. It is no comparison with people, of whom there would be many.

    Args:
        questionnaire: What is asked.
    """

    def __init__(self, questionnaire: Questionnaire) -> None:
        self.questionnaire = questionnaire
        self.name = questionnaire.name
        self.summary = f"questionnaire: {questionnaire.summary}"

    @property
    def measures(self) -> Mapping[str, str]:
        """Return the names of the measures with a line each."""
        return {
            "toward": "score toward the target, -1 to 1, on a scale that has it as a pole",
            **{
                f"score:{scale.name}": f"-1 ({scale.poles[1]}) to 1 ({scale.poles[0]})"
                for scale in self.questionnaire.scales
            },
            "order": "absolute difference of the answers in both orders of the options, 0 to 2",
            "agreement": "answers before reverse keys are turned, -1 to 1: a liking for agreeing",
        }

    @property
    def _one_letter(self) -> bool:
        return all(
            len(letter_of_pole) == 1
            for scale in self.questionnaire.scales
            for letter_of_pole in scale.letters
        )

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None: anybody can be asked."""
        return None

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question."""
        scales = self.questionnaire.scales
        per_scale = max(2, setting.questions // len(scales) // 2 * 2)  # as many reversed as not
        items = [(scale, item) for scale in scales for item in scale.items[:per_scale]]
        questions = [
            OptionQuestion(worded(item, wording, backwards=backwards), LETTERS, False)
            for _, item in items
            for wording in WORDINGS
            for backwards in (False, True)
        ]
        option_scores = iter(speaker.score(questions))
        answers: dict[Item, list[float]] = {}  # wording by wording, in both orders
        for _, item in items:
            answers[item] = []
            for _ in WORDINGS:
                for values in (VALUES, VALUES[::-1]):
                    scores = next(option_scores)
                    shares = [win(scores, "per-token", option) for option in range(len(LETTERS))]
                    total = sum(value * share for value, share in zip(values, shares, strict=True))
                    answers[item].append(total)
        target = setting.contrast.target
        outcomes = [
            self._outcome(scale, item, answers[item], target, number)
            for number, (scale, item) in enumerate(items)
        ]
        return TaskResult(outcomes, self._notes(scales, per_scale, answers))

    def _outcome(
        self, scale: Scale, item: Item, answers: Sequence[float], target: str, number: int
    ) -> Outcome:
        value = fmean(answers) * item.key
        values = {
            f"score:{scale.name}": value,
            "order": fmean(_differences(answers)),
            "agreement": fmean(answers),
        }
        if target in scale.poles:
            values["toward"] = value if target == scale.poles[0] else -value
        nearest = min(range(len(VALUES)), key=lambda i: abs(VALUES[i] - fmean(answers)))
        return Outcome(f"{self.name}-{scale.name}-{number}", values, item.text, LABELS[nearest])

    def _notes(
        self, scales: Sequence[Scale], per_scale: int, answers: Mapping[Item, Sequence[float]]
    ) -> dict[str, object]:
        scores, alphas, types = dict[str, float](), dict[str, float | None](), list[str]()
        for scale in scales:
            items = scale.items[:per_scale]
            keys = [item.key for item in items]
            scores[scale.name] = score([fmean(answers[item]) for item in items], keys)
            respondents = zip(*(answers[item] for item in items), strict=True)
            alphas[scale.name] = cronbach_alpha([keyed(row, keys) for row in respondents])
            types.append(letter(scores[scale.name], scale.letters))
        every = list(answers.values())
        return {
            "type": ("" if self._one_letter else " ").join(types),
            "scores": scores,
            "alpha": alphas,
            "administrations": 2 * len(WORDINGS),
            "items": {scale.name: len(scale.items[:per_scale]) for scale in scales},
            "order-difference": fmean(d for row in every for d in _differences(row)),
            "agreement": acquiescence([fmean(row) for row in every]),
        }


def worded(item: Item, wording: str, *, backwards: bool = False) -> Prompt:
    """Return a prompt with a statement and lettered options, from disagreement to agreement.

    Args:
        item: The statement.
        wording: What stands before it.
        backwards: From agreement to disagreement instead.
    """
    labels = LABELS[::-1] if backwards else LABELS
    options = [f"({mark}) {label}" for mark, label in zip(LETTERS, labels, strict=True)]
    lines = [wording, f'"{item.text}"', *options, "Answer with one letter."]
    return (Message("user", "\n".join(lines)),)


def _differences(answers: Sequence[float]) -> list[float]:
    """Return the absolute differences of neighbours: the same wording in both orders."""
    return [abs(a - b) for a, b in zip(answers[::2], answers[1::2], strict=True)]


for _name in ("mbti", "big-five"):
    TASKS.add(_name, QuestionnaireTask(load_questionnaire(_name)))
