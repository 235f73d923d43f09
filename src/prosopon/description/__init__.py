"""Personas from a description: a model writes the examples, and the description is taken away.

| module | what it holds |
| --- | --- |
| `wordings` | a description as five lines |
| `writers` | who writes: the model itself, or a chat endpoint |
| `effect` | whether a line moves the model, and whose an answer is |
| `sifting` | what is wrong with a pair of answers |
| `answer_file` | answers as they come, so that a run goes on |
| `calibration` | all of it |
"""

from prosopon.description.calibration import CalibrationSet, describe
from prosopon.description.effect import PromptEffect
from prosopon.description.wordings import word_lines

__all__ = ["CalibrationSet", "PromptEffect", "describe", "word_lines"]
