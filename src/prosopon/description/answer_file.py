"""The answers as they come, in a file from which an interrupted run goes on."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prosopon.errors import DataError


@dataclass(frozen=True)
class AnswerPair:
    """The two sides' answers to a question, and what came of them."""

    question: int  # its place among the questions
    wording: int  # of the five, after which both were written
    texts: tuple[str, str]  # the target's, the other side's
    fault: str | None = None  # why the pair is left out; see :data:`.sifting.FAULTS`
    odds: tuple[float, float] | None = None  # own description against the other, nats an answer


class AnswerFile:
    """A JSONL file: what is asked for, then a batch of pairs a line.

    Args:
        path: The file; made with the first batch. None keeps nothing.
        task: What the answers are for. A file for anything else is refused.

    Raises:
        DataError: The file cannot be read, is none of ours, or is for something else.
    """

    def __init__(self, path: str | Path | None, task: Mapping[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self._task = json.loads(json.dumps(task))
        self.batches: list[list[AnswerPair]] = []
        self._whole = 0  # bytes of whole lines
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def add(self, batch: Sequence[AnswerPair]) -> None:
        """Take in a batch, and write it to disk at once.

        Raises:
            DataError: The file cannot be written.
        """
        self.batches.append(list(batch))
        if self.path is None:
            return
        lines = [] if self._whole else [json.dumps(self._task, ensure_ascii=False)]
        lines.append(json.dumps([asdict(pair) for pair in batch], ensure_ascii=False))
        content = "".join(f"{line}\n" for line in lines).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("r+b" if self.path.exists() else "w+b") as file:
                file.truncate(self._whole)  # half a line, which an interruption leaves
                file.seek(self._whole)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._whole += len(content)

    def remove(self) -> None:
        """Delete the file: what it was for is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        self._whole = content.rfind(b"\n") + 1
        lines = content[: self._whole].splitlines()
        try:
            head, *rows = map(json.loads, lines) if lines else [self._task]
            self.batches = [[_pair(row) for row in batch] for batch in rows]
        except (ValueError, LookupError, TypeError):
            raise DataError(f"{path}: holds no answers of a description; delete it") from None
        if head != self._task:
            names = sorted(set(head) | set(self._task)) if isinstance(head, dict) else []
            other = [name for name in names if head.get(name) != self._task.get(name)]
            raise DataError(
                f"{path}: holds answers of another run (other {', '.join(other) or 'contents'}); "
                "finish that run, delete the file, or give another --save or --output"
            )


def _pair(row: Mapping[str, Any]) -> AnswerPair:
    ours, theirs = row["texts"]
    odds = row["odds"]
    return AnswerPair(
        row["question"], row["wording"], (ours, theirs), row["fault"], odds and (odds[0], odds[1])
    )
