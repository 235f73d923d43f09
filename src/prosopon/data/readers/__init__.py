"""Readers: from files to examples, one module a format.

| name | module |
| --- | --- |
| ``jsonl`` | `messages`: the project's own chat messages |
| ``model-written-evals`` | `model_written_evals`: Yes/No and lettered choices |
| ``alpaca`` | `alpaca`: instruction, input, output |
| ``csv`` | `pairs`: question, matching, not_matching, as CSV or as JSON |
| ``prompt-completion`` | `completions`: texts, prompts with completions, chosen and rejected |
| ``rolebench`` | `rolebench`: roles that answer instructions |
| ``role-agent-bench`` | `role_agent_bench`: roles of scripts |
| ``text`` | `text`: one text a line, or paragraphs between blank lines |
"""

from __future__ import annotations

from prosopon.data.readers import (
    alpaca,
    completions,
    messages,
    model_written_evals,
    pairs,
    role_agent_bench,
    rolebench,
    text,
)
from prosopon.data.readers.base import READERS, Reader
from prosopon.data.readers.reading import ReadResult, parse_rows, read_examples, read_file
from prosopon.data.readers.rows import Row

__all__ = [
    "READERS",
    "ReadResult",
    "Reader",
    "Row",
    "alpaca",
    "completions",
    "messages",
    "model_written_evals",
    "pairs",
    "parse_rows",
    "read_examples",
    "read_file",
    "role_agent_bench",
    "rolebench",
    "text",
]
