"""Tasks: one small file each, in a registry."""

from prosopon.evaluation.tasks import (  # noqa: F401  (they register themselves)
    a_b,
    choice,
    cross_talk,
    drift,
    facts,
    free_text,
    neutral,
    perplexity,
    questionnaire,
    role_play,
    unseen,
    yes_no,
)
from prosopon.evaluation.tasks.base import TASKS, JudgedTask, Outcome, Setting, Task, TaskResult

__all__ = ["TASKS", "JudgedTask", "Outcome", "Setting", "Task", "TaskResult"]
