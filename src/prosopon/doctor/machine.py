"""This machine: processors, memory, graphics cards, disks; nothing but the system is asked."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Gpu:
    """A graphics card; memory in bytes."""

    name: str
    memory: int
    free: int


@dataclass(frozen=True)
class Machine:
    """What there is.

    Attributes:
        system: Operating system and processor.
        python: Version of the interpreter.
        cores: Cores that this process may use.
        memory: Main memory in bytes, or less where a container is given less; None: not known.
        free: What of it is free; None: not known.
        gpus: Graphics cards.
    """

    system: str
    python: str
    cores: int
    memory: int | None
    free: int | None
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True)
class Folder:
    """A folder that is written to, there or not there yet.

    Attributes:
        what: What lies in it.
        path: Where.
        free: Bytes that are free there.
        problem: Why nothing can be written, or None.
    """

    what: str
    path: Path
    free: int
    problem: str | None


def look_at_machine() -> Machine:
    """Return what this machine has."""
    memory, free = _memory()
    limit, used = _container()
    if limit is not None and (memory is None or limit < memory):
        memory, rest = limit, max(0, limit - used)
        free = rest if free is None else min(free, rest)
    return Machine(
        f"{platform.system()} {platform.machine()}", platform.python_version(), _cores(),
        memory, free, _nvidia(),
    )  # fmt: skip


def look_at_folder(what: str, path: Path) -> Folder:
    """Return how much is free in a folder, and why nothing can be written there, if so."""
    place = next(part for part in (path, *path.absolute().parents) if part.exists())
    try:
        if not place.is_dir():
            raise NotADirectoryError(0, f"{place} is a file")
        with tempfile.TemporaryFile(dir=place):
            pass
        problem = None
    except OSError as error:
        problem = error.strerror or str(error)
    return Folder(what, path, shutil.disk_usage(place).free, problem)


def _cores() -> int:
    """Return the cores that this process may use, whole ones of a container's share."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    words = _read(CGROUP / "cpu.max").split()
    if len(words) == 2 and words[0].isdecimal():
        cores = min(cores, max(1, int(words[0]) // int(words[1])))
    return cores


def _memory() -> tuple[int | None, int | None]:
    """Return the memory's bytes, and those that are free."""
    if sys.platform == "win32":
        return _windows_memory()
    lines = dict(line.partition(":")[::2] for line in _read(MEMINFO).splitlines())
    total, free = (
        int(lines[key].split()[0]) * 1024 if key in lines else None
        for key in ("MemTotal", "MemAvailable")
    )
    if total is None:
        try:
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):
            return None, None
    return total, free


def _container() -> tuple[int | None, int]:
    """Return the memory that a container is given, and what it uses; files it can drop aside."""
    limit = _read(CGROUP / "memory.max").strip()
    if not limit.isdecimal():
        return None, 0
    lines = dict(line.partition(" ")[::2] for line in _read(CGROUP / "memory.stat").splitlines())
    used = int(_read(CGROUP / "memory.current").strip() or 0)
    return int(limit), max(0, used - int(lines.get("inactive_file", 0)))


class _MemoryStatus(ctypes.Structure):
    """What Windows fills in (MEMORYSTATUSEX)."""

    _fields_ = (
        ("length", ctypes.c_uint32), ("load", ctypes.c_uint32), ("total", ctypes.c_uint64),
        ("free", ctypes.c_uint64), *((name, ctypes.c_uint64) for name in "abcde"),
    )  # fmt: skip


def _windows_memory() -> tuple[int | None, int | None]:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (no such name elsewhere)
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None
    return int(status.total), int(status.free)


def _nvidia() -> tuple[Gpu, ...]:
    """Return what NVIDIA's own tool lists; no tool, no card."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = ["--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            [program, *query], capture_output=True, text=True, timeout=20, check=True
        )
        rows = [line.rsplit(",", 2) for line in done.stdout.splitlines() if line.strip()]
        return tuple(Gpu(n.strip(), int(m) << 20, int(f) << 20) for n, m, f in rows)
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""
