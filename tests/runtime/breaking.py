"""Making the writes of the in-place backend fail, half done."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from prosopon.runtime import inplace


@contextmanager
def failing_write(number, error, *, times=1):
    """Let the writes from the ``number``-th on (from 0) stop half-way and raise ``error``.

    ``times`` of them fail; the ones after succeed. Yields the list of writes that were tried.
    """
    real, calls = inplace.write, []

    def write(matrix, indices, values):
        calls.append(len(indices))
        if number <= len(calls) - 1 < number + times:
            half = len(indices) // 2
            real(matrix, indices[:half], values[:half])
            raise error
        real(matrix, indices, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inplace, "write", write)
        yield calls
