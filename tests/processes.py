"""A process of its own without the cost of starting one: a copy of this one, all imported."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import warnings
from contextlib import ExitStack, contextmanager, suppress

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


def run_ranks(work, *arguments, size=2, seconds=60):
    """Run ``work(channel, *arguments)`` in ranks of one run, as torchrun starts them.

    Returns what every rank says, and its exit code; None for a rank that says nothing.
    """
    with ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        ranks = [
            stack.enter_context(forked(_rank, work, rank, size, port, arguments))
            for rank in range(size)
        ]
        results = []
        for process, channel in ranks:
            said = None
            assert channel.poll(seconds), "a rank hangs"  # something is said, or nothing can be
            with suppress(EOFError):
                said = channel.recv()
            process.join(seconds)
            assert process.exitcode is not None, "a rank hangs"
            results.append((said, process.exitcode))
        return results


def _rank(channel, work, rank, size, port, arguments):
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    work(channel, *arguments)
