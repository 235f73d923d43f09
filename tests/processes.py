"""A process of its own without the cost of starting one: a copy of this one, all imported."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from contextlib import contextmanager

CONTEXT = multiprocessing.get_context("fork")


@contextmanager
def forked(work, *arguments):
    """Run ``work(channel, *arguments)`` in a copy of this process; yield it and our channel.

    Ctrl-C means there what it means in a fresh interpreter. The process is killed where it is
    still there at the end.
    """
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_run, args=(work, theirs, *arguments), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside other threads
        process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _run(work, channel, *arguments):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    work(channel, *arguments)


def listen(channel, seconds=60):
    """Return what the other side says next."""
    assert channel.poll(seconds), "the other process says nothing"
    return channel.recv()
