"""A process of its own without the cost of starting one: a copy of this one, all imported."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
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


def run_cli(channel, arguments, cwd, streams):
    """Be ``python -m prosopon``, on three file descriptors instead of the tests' streams."""
    os.chdir(cwd)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8") for number, mode in enumerate("rww")
    )
    sys.argv = ["prosopon", *map(str, arguments)]
    for name in [name for name in sys.modules if name.startswith("prosopon.cli")]:
        del sys.modules[name]  # its consoles look at the streams when they are made
    runpy.run_module("prosopon", run_name="__main__")


def listen(channel, seconds=60):
    """Return what the other side says next."""
    assert channel.poll(seconds), "the other process says nothing"
    return channel.recv()
