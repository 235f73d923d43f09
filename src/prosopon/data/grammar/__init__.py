"""The grammar behind the embedded model: axes, poles, neutral skills, and the judge."""

from prosopon.data.grammar.judge import judge, poles_of
from prosopon.data.grammar.skills import load_skills
from prosopon.data.grammar.world import AXES, Axis, load_world
from prosopon.data.grammar.writer import answer, dialogues, draw_answer, fill, prompt_line, question

__all__ = [
    "AXES",
    "Axis",
    "answer",
    "dialogues",
    "draw_answer",
    "fill",
    "judge",
    "load_skills",
    "load_world",
    "poles_of",
    "prompt_line",
    "question",
]
