"""Giving freed memory back to the system, which the C library does not always do by itself."""

import ctypes
import sys


def trim() -> bool:
    """Give freed memory back; return whether the C library can (glibc can).

    glibc keeps freed blocks of up to 32 MB for itself, and a run that goes through layer after
    layer scatters small lasting results between them: the process grows with every layer though
    nothing but the results is in use (docs/design/sequential.md).
    """
    if sys.platform != "linux":
        return False
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is None:  # musl
        return False
    release(0)
    return True
