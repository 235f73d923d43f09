"""Verdicts that were paid for once: one JSON line each."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import get_args

from prosopon.errors import JudgeError
from prosopon.judges.base import Verdict


class VerdictFile:
    """A JSONL file of verdicts by key, safe between threads of one process.

    A last line without its end, which an interruption leaves, is dropped.

    Args:
        path: The file; made when the first verdict is kept. None keeps them in memory.

    Raises:
        JudgeError: The file cannot be read, or a line is none of ours; names file and line.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self._lock = threading.Lock()
        self._known: dict[str, Verdict] = {}
        self._whole = 0
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def get(self, key: str) -> Verdict | None:
        """Return the verdict kept under ``key``, or None."""
        return self._known.get(key)

    def keep(self, key: str, verdict: Verdict, note: str) -> None:
        """Keep a verdict, with a word on what it is about for people who read the file.

        Raises:
            JudgeError: The file cannot be written.
        """
        line = json.dumps({"key": key, "verdict": verdict, "text": note}, ensure_ascii=False)
        data = (line + "\n").encode()
        with self._lock:
            self._known[key] = verdict
            if self.path is None:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("r+b" if self.path.exists() else "wb") as file:
                    file.truncate(self._whole)
                    file.seek(self._whole)
                    file.write(data)
            except OSError as error:
                raise JudgeError(f"{self.path}: cannot be written: {error.strerror}") from error
            self._whole += len(data)

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise JudgeError(f"{path}: cannot be read: {error.strerror}") from error
        self._whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[: self._whole].splitlines(), 1):
            try:
                row = json.loads(line)
                key, verdict = row["key"], row["verdict"]
            except (ValueError, LookupError, TypeError):
                key = verdict = None
            if not isinstance(key, str) or verdict not in get_args(Verdict):
                raise JudgeError(f"{path}, line {number}: not a verdict of this judge")
            self._known[key] = verdict
