"""What the system says of itself, from files as systems write them."""

import ctypes
import os
import stat
import sys
from types import SimpleNamespace

import pytest

from prosopon.doctor import machine as looked
from prosopon.doctor.machine import Gpu, look_at_folder, look_at_machine

MEMINFO = "MemTotal:       16384 kB\nMemFree:         100 kB\nMemAvailable:    8192 kB\n"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system of 16 MB without a container and without cards; returns its control group."""
    monkeypatch.setattr(looked, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(looked, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "meminfo").write_text(MEMINFO)
    for name in ("cgroup", "bin"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_memory_is_what_is_available(system):
    here = look_at_machine()
    assert (here.memory, here.free) == (16 << 20, 8 << 20)
    assert here.gpus == ()
    assert here.cores == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def test_a_container_has_less(system):
    group = system / "cgroup"
    (group / "memory.max").write_text(f"{4 << 20}\n")
    (group / "memory.current").write_text(f"{3 << 20}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {1 << 20}\n")
    (group / "cpu.max").write_text("100000 100000\n")
    here = look_at_machine()
    assert (here.memory, here.free) == (4 << 20, 2 << 20)
    assert here.cores == 1


@pytest.mark.parametrize("limit", ["max\n", f"{1 << 40}\n", ""])
def test_a_container_without_a_limit_changes_nothing(system, limit):
    (system / "cgroup" / "memory.max").write_text(limit)
    (system / "cgroup" / "cpu.max").write_text("max 100000\n")
    here = look_at_machine()
    assert (here.memory, here.free) == (16 << 20, 8 << 20)


def test_half_a_core_counts_as_one(system):
    (system / "cgroup" / "cpu.max").write_text("50000 100000\n")
    assert look_at_machine().cores == 1


def test_where_no_file_says_the_system_is_asked(system):
    (system / "meminfo").unlink()
    here = look_at_machine()
    assert here.memory is None or here.memory > 1 << 20
    assert here.free is None


def nvidia(system, text, code=0):
    tool = system / "bin" / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {code}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script plays the tool")
def test_cards_are_those_that_their_tool_lists(system):
    nvidia(system, r"NVIDIA H100, PCIe, 81559, 80000\nRTX 4090, 24564, 100\n")
    assert look_at_machine().gpus == (
        Gpu("NVIDIA H100, PCIe", 81559 << 20, 80000 << 20),
        Gpu("RTX 4090", 24564 << 20, 100 << 20),
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script plays the tool")
@pytest.mark.parametrize(("text", "code"), [("", 9), ("No devices were found\\n", 0), ("", 0)])
def test_a_tool_without_a_driver_means_no_card(system, text, code):
    nvidia(system, text, code)
    assert look_at_machine().gpus == ()


def test_a_folder_that_is_not_there_yet_is_judged_by_its_parent(tmp_path):
    folder = look_at_folder("things", tmp_path / "not" / "yet")
    assert folder.problem is None
    assert folder.free > 0
    assert folder.path == tmp_path / "not" / "yet"
    assert not folder.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    folder = look_at_folder("things", tmp_path / "file" / "inside")
    assert folder.problem == f"{tmp_path / 'file'} is a file"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_may_not_be_written_says_why(tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert look_at_folder("things", tmp_path).problem == "Permission denied"
    finally:
        tmp_path.chmod(0o700)


def test_windows_is_asked_in_its_own_way(monkeypatch):
    """The call as Windows answers it; its structure has 64 bytes there."""
    assert ctypes.sizeof(looked._MemoryStatus) == 64

    class Kernel:
        works = 1

        def GlobalMemoryStatusEx(self, reference):
            status = reference._obj
            assert status.length == 64
            status.total, status.free = 10**10, 10**9
            return self.works

    library = SimpleNamespace(kernel32=Kernel())
    monkeypatch.setattr(ctypes, "windll", library, raising=False)
    monkeypatch.setattr(looked.sys, "platform", "win32")
    assert looked._memory() == (10**10, 10**9)
    Kernel.works = 0
    assert looked._memory() == (None, None)


def test_a_system_without_either_is_not_known(system, monkeypatch):
    """A Mac says how much there is, not how much is free."""
    (system / "meminfo").unlink()
    pages = {"SC_PHYS_PAGES": 2048, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert looked._memory() == (8 << 20, None)
    monkeypatch.delattr(os, "sysconf")
    assert looked._memory() == (None, None)
