"""Logs for programs: a JSON object a line, and never the text of a prompt or an answer."""

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

log = logging.getLogger("prosopon.serving")


class JsonLines(logging.Formatter):
    """Writes time, level, event and the fields of a record, all in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(line | getattr(record, "fields", {}))


def record(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields."""
    log.log(level, event, extra={"fields": fields})


def record_failure(event: str, problem: BaseException) -> None:
    """Log a bug: its kind and where it happened, but not its message, which could quote a text."""
    frames = traceback.extract_tb(problem.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    record(event, logging.ERROR, kind=type(problem).__name__, where=where)


def start_logs(stream: TextIO, level: int = logging.INFO) -> None:
    """Write the records of this package and of uvicorn, from warnings on, to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name, least in (("prosopon.serving", level), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
