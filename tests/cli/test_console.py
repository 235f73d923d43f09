"""What is printed: any text, on any stream, as it is."""

import io
import json
import os
import subprocess
import sys
import time

import pytest

from prosopon.cli import console
from prosopon.errors import OptionError
from prosopon.progress import PACE

TEXT = "[v2] [/] [bold]x[/] :heart: $a$ \x1b[2J\x07 \x9b1m \u202e→ 🎭"
"""Markup, emoji codes, control codes and what few encodings have."""


@pytest.fixture
def streams(monkeypatch):
    """Return ``open(encoding)``: new stdout and stderr, and what reads their bytes."""

    def open_(encoding, errors="strict"):
        pair = [io.TextIOWrapper(io.BytesIO(), encoding, errors) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", pair[0])
        monkeypatch.setattr(sys, "stderr", pair[1])
        console.open_streams()

        def read(stream):
            stream.flush()
            return stream.buffer.getvalue().decode(encoding)

        return lambda: tuple(map(read, pair))

    monkeypatch.setattr(console, "volume", console.Volume())
    return open_


def test_text_is_shown_and_never_obeyed(streams):
    read = streams("utf-8")
    console.say(TEXT)
    assert read()[0] == ("[v2] [/] [bold]x[/] :heart: $a$ \\x1b[2J\\x07 \\x9b1m \\u202e→ 🎭\n")


def test_cells_and_titles_of_tables_are_text(streams):
    from rich.table import Table

    read = streams("utf-8")
    table = Table("[b]head[/b]", title=":heart:")
    table.add_row("[/] \x1b[31m")
    console.out.print(table)
    shown = read()[0]
    assert all(part in shown for part in ("[b]head[/b]", ":heart:", "[/] \\x1b[31m"))
    assert "\x1b" not in shown


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_no_encoding_ends_a_command(streams, encoding):
    read = streams(encoding)
    console.say(TEXT)
    console.say_pieces(["→", " 🎭"])
    console.note("→ 🎭")
    console.error("größe → 🎭 \udcff")
    console.print_json({"text": TEXT, "name": "größe \udcff"})
    shown, errors = read()
    assert ":heart:" in shown
    assert errors.splitlines()[-1].startswith("error: ")
    parsed = json.loads(shown[shown.index("{") :])
    assert parsed == {"text": TEXT, "name": "größe \udcff"}
    assert not set("\x1b\x07\x9b") & set(shown + errors)


def test_long_lines_are_not_wrapped(streams):
    read = streams("utf-8")
    console.say("word " * 100)
    assert read()[0] == "word " * 100 + "\n"


def test_pieces_come_as_they_are_written_and_are_kept(streams):
    read = streams("utf-8")

    def pieces():
        yield "one "
        assert read()[0] == "one "
        yield "[two]"

    assert console.say_pieces(pieces()) == "one [two]"
    assert read()[0] == "one [two]\n"


def test_quiet_leaves_out_notes_and_progress_but_no_error(streams):
    read = streams("utf-8")
    console.volume.quiet = True
    console.note("a note")
    with console.progress() as report, console.status("loading"):
        report("stage", 0, 1)
    console.error("a\nfault")
    assert read() == ("", "error: a fault\n")


def test_verbose_says_where_an_error_came_from(streams):
    read = streams("utf-8")
    console.volume.verbose = True
    try:
        raise OptionError("bad")
    except OptionError as problem:
        console.error(str(problem))
    errors = read()[1]
    assert "Traceback" in errors
    assert errors.splitlines()[-1] == "error: bad"


def test_progress_is_lines_where_the_output_is_no_terminal(streams):
    read = streams("utf-8")
    with console.progress() as report:
        report("[moments]", 0, 4)
        report("[moments]", 4, 4)
    assert read() == ("", "[moments]: 0/4 (0%)\n")


def test_programs_may_ask_for_more_lines(streams, monkeypatch):
    read = streams("utf-8")
    monkeypatch.setenv(PACE, "0.1")
    with console.progress() as report:
        report("reading", 0, 4)
        report("reading", 1, 4)
        time.sleep(0.3)  # a line is due, whether or not a step ends
    first, *more = read()[1].splitlines()
    assert first == "reading: 0/4 (0%)"
    assert 1 <= len(more) <= 3
    assert all(line.startswith("reading: 1/4 (25%), ") for line in more)


def test_progress_is_a_bar_on_a_terminal(streams, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(console, "err", console.Plain(file=stream, force_terminal=True, width=100))
    with console.progress() as report:
        report("[moments]", 1, 4)
        report("[moments]", 4, 4)
    with console.status("[loading]"):
        pass
    assert "[moments]" in stream.getvalue()
    assert "1/4" in stream.getvalue()


def test_a_command_is_named_as_the_reader_can_call_it(tmp_path, monkeypatch):
    program = tmp_path / "prosopon"
    program.write_text("")
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert console.command_line("chat", "-p", "a b") == f"{program} chat -p 'a b'"
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert console.command_line("chat") == "prosopon chat"
    monkeypatch.setattr(sys, "argv", [console.__file__])
    monkeypatch.setenv("PATH", "")
    assert console.command_line("chat") == f"{sys.executable} -m prosopon chat"


def test_a_command_on_a_stream_that_is_not_utf8(streams, tmp_path, monkeypatch):
    from prosopon.cli import main
    from tests.subnetwork.samples import subnetwork

    subnetwork(persona="größe → 🎭").save_pretrained(tmp_path / "mask")
    monkeypatch.setattr(sys, "argv", ["prosopon", "inspect", str(tmp_path / "mask")])
    read = streams("cp1252")
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert "größe" in read()[0]


def test_a_process_whose_output_is_not_utf8(tmp_path):
    from tests.subnetwork.samples import subnetwork

    subnetwork(persona="größe → 🎭 [v2] \x1b[2J").save_pretrained(tmp_path / "mask")
    both = """
import sys
from prosopon.cli import main
for extra in ([], ["--json"]):
    sys.argv = ["prosopon", "inspect", "mask", *extra]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise
"""
    done = subprocess.run(
        [sys.executable, "-c", both],
        cwd=tmp_path, capture_output=True,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"[v2]") == 2
    assert b"\x1b" not in done.stdout
    as_json = json.loads(done.stdout[done.stdout.index(b"\n{") :])
    assert as_json["config"]["persona"] == "größe → 🎭 [v2] \x1b[2J"
