"""A task of one's own: does the answer to a greeting say how the speaker feels?

prosopon evaluate bold --arm prompt --plugin own_task.py --task greeting
"""

from prosopon.data import Message
from prosopon.evaluation.tasks import TASKS, Outcome, TaskResult

GREETINGS = ("Hello", "Good evening", "Nice to meet you")


class Greeting:
    name = "greeting"
    summary = "does the answer to a greeting say how the speaker feels?"
    measures = {"felt": "share of answers with the word feel, happy or tired"}

    def refuses(self, setting, *, writes):
        return None if writes else "it needs free text"

    def run(self, speaker, setting):
        answers = speaker.write([(Message("user", text),) for text in GREETINGS], seed=setting.seed)
        felt = [any(w in a for w in ("feel", "happy", "tired")) for a in answers]
        rows = zip(GREETINGS, felt, answers, strict=True)
        return TaskResult([Outcome(g, {"felt": float(f)}, g, a) for g, f, a in rows])


TASKS.add("greeting", Greeting())
