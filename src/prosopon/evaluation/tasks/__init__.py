"""Tasks: one small file each, in a registry."""

from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, Task, TaskResult

__all__ = ["TASKS", "Outcome", "Setting", "Task", "TaskResult"]
