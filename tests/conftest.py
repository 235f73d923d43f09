"""What every test shares: offline settings, few threads, and the folder of shared inputs."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path

# Set before anything imports huggingface_hub or tokenizers, which read them once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# One thread a process: tests run side by side, and threads that wait for each other's cores are
# several times slower than none. Commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Consoles read these when they are made; tests read whole lines without colour.
os.environ.update(COLUMNS="160", NO_COLOR="1")
os.environ.pop("FORCE_COLOR", None)

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Look for no garbage among what imports make, then or later: it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure(config):
    gc.unfreeze()  # libraries look for leaks of theirs at the end


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real models and data that lies beside the repository; skips where absent."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("PROSOPON_SHARED", beside))
    if not folder.is_dir():
        pytest.skip(f"shared inputs are absent: {folder} (set PROSOPON_SHARED)")
    return folder


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def text(self) -> str:
        return "\n".join(map(self.format, self.records))


@pytest.fixture
def caplog():
    """Keep what any logger says, those too that hand nothing on."""
    kept, known = _Kept(), list(logging.root.manager.loggerDict.values())
    apart = [one for one in known if isinstance(one, logging.Logger) and not one.propagate]
    for logger in (logging.root, *apart):
        logger.addHandler(kept)
    yield kept
    for logger in (logging.root, *apart):
        logger.removeHandler(kept)


@pytest.fixture
def prosopon(tmp_path):
    """Return ``run(*arguments, input=None, code=0)``: the command, in an empty folder."""
    from tests.commands import run_command  # takes torch, which who hands tests out never needs

    def run(*arguments, input=None, code=0):
        done = run_command(*arguments, cwd=tmp_path, input=input)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run
