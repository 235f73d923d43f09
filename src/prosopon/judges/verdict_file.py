"""Verdicts that were paid for once: one JSON line each."""

import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, get_args

from prosopon.errors import JudgeError
from prosopon.judges.base import Verdict


class VerdictFile:
    """A JSONL file of verdicts by key, which threads and processes may share.

    Lines are appended whole, under a lock on the file. A last line without its end, which an
    interruption leaves, is left out with a warning, and goes when the next verdict is kept.

    Args:
        path: The file; made when the first verdict is kept. None keeps them in memory.

    Raises:
        JudgeError: The file cannot be read, or a line is none of ours; names file and line.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self._lock = threading.Lock()
        self._verdicts: dict[str, Verdict] = {}
        self._bytes = self._lines = 0  # how much of the file has been read
        self.refresh()

    def get(self, key: str) -> Verdict | None:
        """Return the verdict kept under ``key``, or None."""
        return self._verdicts.get(key)

    def refresh(self) -> None:
        """Read what other processes have kept since the file was last read.

        Raises:
            JudgeError: The file cannot be read, or a line is none of ours.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            with self._lock, self.path.open("rb") as file, _locked(file, alone=False):
                file.seek(self._bytes)
                content = file.read()
        except OSError as error:
            raise JudgeError(f"{self.path}: cannot be read: {error.strerror}") from error
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            warnings.warn(
                f"{self.path}: the last line is not whole, as an interruption leaves it; it is "
                "left out",
                stacklevel=2,
            )
        for line in content[:whole].splitlines():
            self._lines += 1
            self._take(line)
        self._bytes += whole

    def keep(self, key: str, verdict: Verdict, note: str) -> None:
        """Keep a verdict, with a word on what it is about for people who read the file.

        Raises:
            JudgeError: The file cannot be written.
        """
        line = json.dumps({"key": key, "verdict": verdict, "text": note}, ensure_ascii=False)
        with self._lock:
            self._verdicts[key] = verdict
            if self.path is None:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a+b") as file, _locked(file, alone=True):
                    _drop_torn_line(file)
                    file.write((line + "\n").encode())
                    file.flush()
            except OSError as error:
                raise JudgeError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            key, verdict = row["key"], row["verdict"]
        except (ValueError, LookupError, TypeError):
            key = verdict = None
        if not isinstance(key, str) or verdict not in get_args(Verdict):
            raise JudgeError(f"{self.path}, line {self._lines}: not a verdict of this judge")
        self._verdicts[key] = verdict


def _drop_torn_line(file: IO[bytes]) -> None:
    """Cut off what stands behind the last line's end; whoever holds the lock wrote none of it."""
    end = file.seek(0, 2)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


@contextmanager
def _locked(file: IO[bytes], *, alone: bool) -> Iterator[None]:
    """Hold a lock on an open file, alone or beside other readers; none on systems without it."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
