"""The command as a whole: its help, its exit codes, and what becomes of errors."""

import errno

import pytest

from prosopon import cli
from prosopon.cli import app, console
from prosopon.errors import OptionError
from prosopon.version import __version__

COMMANDS = {
    "demo", "extract", "chat", "evaluate", "compare", "explain", "sweep", "reproduce", "export",
    "pack", "unpack", "inspect", "personas", "criteria", "lm-eval", "serve",
    "search", "pull", "verify-server", "doctor", "ui",
}  # fmt: skip


def test_version_and_commands(prosopon):
    assert prosopon("--version").stdout == f"prosopon {__version__}\n"
    shown = prosopon("--help").stdout
    assert all(name in shown for name in COMMANDS)
    commands = app.app.registered_commands
    names = {c.name or c.callback.__name__.replace("_", "-") for c in commands}
    assert names == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS - {"lm-eval"}))
def test_help_of_every_command_names_what_all_have(prosopon, command):
    shown = prosopon(command, "-h").stdout
    common = ["--quiet", "--verbose", "--plugin"]
    for option in common if command in ("serve", "ui") else [*common, "--json"]:
        assert option in shown
    assert "--out " not in shown


def test_flags_stand_before_a_command_too(prosopon):
    assert prosopon("-q", "personas", "--json").stderr == ""
    assert not console.volume.verbose
    prosopon("--verbose", "personas", "--json")
    assert console.volume.verbose
    prosopon("personas", "--json")
    assert not console.volume.verbose  # not of the next call


@pytest.fixture
def run(monkeypatch, capsys):
    """Return ``run(error)``: exit code and stderr of a command that raises it."""

    def run(problem):
        def fail():
            raise problem

        monkeypatch.setattr(app, "app", fail)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, capsys.readouterr().err

    monkeypatch.setattr(console, "volume", console.Volume())
    return run


def test_errors_become_one_line(run):
    assert run(OptionError("bad\n  thing [/]")) == (2, "error: bad thing [/]\n")
    full = OSError(errno.ENOSPC, "No space left on device", "/some/file")
    assert run(full) == (2, "error: /some/file: No space left on device\n")
    assert run(OSError("odd")) == (2, "error: odd\n")
    overflow = RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    code, shown = run(overflow)
    assert code == 2
    assert "overflow or are NaN: give --dtype float32" in shown
    code, shown = run(SystemExit(130))
    assert code == 130
    assert "interrupted; nothing was left half-written" in shown
    assert run(SystemExit(0)) == (0, "")


def test_a_bug_is_no_fault_of_the_input(monkeypatch):
    def fail():
        raise RuntimeError("a bug")

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main()


@pytest.mark.parametrize(
    ("problem", "much"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"), "20.00 GiB"),
        (RuntimeError("can't allocate memory: you tried to allocate 9 bytes. Error"), "9 bytes"),
        (MemoryError("Unable to allocate 8.00 PiB for an array"), "8.00 PiB"),
    ],
)
def test_a_lack_of_memory_is_one_line(run, problem, much):
    code, shown = run(problem)
    assert code == 2
    assert shown.startswith(f"error: not enough memory ({much} asked for): a narrower --dtype")
    assert shown.count("\n") == 1


def test_a_lack_of_memory_that_says_no_number(run):
    assert "not enough memory: a narrower" in run(MemoryError())[1]
