"""lm-evaluation-harness with a worn persona: its model ``prosopon`` and its command line."""

from prosopon.harness.launch import MODEL, main, register

__all__ = ["MODEL", "main", "register"]
