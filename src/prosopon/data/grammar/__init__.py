"""The grammar behind the embedded model: axes, poles, neutral skills, and the judge."""

from prosopon.data.grammar.judge import Verdict, judge, poles_of
from prosopon.data.grammar.skills import Skill, load_skills
from prosopon.data.grammar.world import (
    AXES,
    SPLITS,
    Axis,
    Phrases,
    Pole,
    Split,
    World,
    load_world,
)
from prosopon.data.grammar.writer import (
    answer,
    dialogues,
    draw_answer,
    fill,
    is_reserved,
    prompt_line,
    question,
    system_line,
)

__all__ = [
    "AXES",
    "SPLITS",
    "Axis",
    "Phrases",
    "Pole",
    "Skill",
    "Split",
    "Verdict",
    "World",
    "answer",
    "dialogues",
    "draw_answer",
    "fill",
    "is_reserved",
    "judge",
    "load_skills",
    "load_world",
    "poles_of",
    "prompt_line",
    "question",
    "system_line",
]
