"""Options that commands share: how they are written and what they mean."""

import inspect
from pathlib import Path

import pytest
import typer
from typer.models import OptionInfo
from typer.testing import CliRunner

from prosopon.cli import options
from prosopon.cli.app import app
from prosopon.cli.console import volume
from prosopon.errors import OptionError, UnknownNameError


def test_home_is_expanded_also_where_no_shell_does(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert options.expand_home("~/x") == tmp_path / "x"
    assert options.expand_home("a~/x") == Path("a~/x")
    assert options.expand_home("~nobody-at-all/x") == Path("~nobody-at-all/x")


def test_key_values():
    assert options.key_values(None) == {}
    assert options.key_values(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    assert options.key_values(["wanda.a=1.5"], "wanda") == {"a": "1.5"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["rounds"], "write it as key=value"),
        (["=1"], "write it as key=value"),
        ([".a=1"], "write it as key=value"),
        (["a=1", "a=2"], "'a' is given twice"),
        (["a=1", "wanda.a=2"], "'a' is given twice"),
        (["sparsegpt.a=1"], "'sparsegpt' does not take part"),
    ],
)
def test_wrong_key_values(texts, message):
    with pytest.raises(OptionError, match=message):
        options.key_values(texts, "wanda")


def test_lists():
    assert options.whole_numbers("--seeds", " 2, 1,,2 ") == (2, 1)
    with pytest.raises(OptionError, match="--seeds '1,x': whole numbers"):
        options.whole_numbers("--seeds", "1,x")


def test_bundled_personas_by_name():
    from prosopon.data import bundled

    assert options.split_personas("ALL") == bundled.names()
    assert options.split_personas("bold, thinking,bold") == ["bold", "thinking"]
    for text in ("bald", ","):
        with pytest.raises(UnknownNameError, match="persona"):
            options.split_personas(text)


def test_personas_of_the_library_by_name_on_any_other_model():
    assert options.split_personas("cold, library:pirate", "smollm2") == ["cold", "pirate"]
    assert "warm" in options.split_personas("all", "smollm2")
    with pytest.raises(UnknownNameError, match=r"persona 'bald'.*pirate"):
        options.split_personas("bald", "smollm2")
    with pytest.raises(OptionError, match="--opposite needs --target"):
        options.People(personas="cold", opposite="warm").source("smollm2")


def command_parameters():
    for command in app.registered_commands:
        if command.name != "lm-eval":
            yield command, inspect.signature(command.callback).parameters


def letters(parameter):
    info = parameter.annotation.__metadata__[0]
    names = (info.default, *(info.param_decls or ()))
    return [name for name in names if isinstance(name, str)] if isinstance(info, OptionInfo) else []


def test_a_letter_means_one_thing_and_a_thing_has_one_letter():
    meanings = {}
    for _, parameters in command_parameters():
        for parameter in parameters.values():
            names = letters(parameter)
            for short in (name for name in names if not name.startswith("--")):
                meanings.setdefault(short, set()).update(n for n in names if n.startswith("--"))
    assert meanings["-o"] == {"--output"}
    assert meanings["-n"] == {"--examples"}
    assert meanings["-q"] == {"--quiet"}
    assert meanings["-v"] == {"--verbose"}
    assert meanings["-p"] == {"--persona", "--personas"}
    assert meanings["-m"] == {"--model"}
    assert meanings["-t"] == {"--target"}
    assert meanings["-f"] == {"--format"}


def test_every_command_has_what_all_have():
    for _, parameters in command_parameters():
        assert {"plugin", "quiet", "verbose"} <= set(parameters)
        assert "--out" not in {name for p in parameters.values() for name in letters(p)}


@pytest.fixture
def small(monkeypatch):
    """Return ``run(*arguments)`` of an app with one command, and what it was called with."""
    calls = []

    def command(output: options.Output, count: int = 1) -> None:
        calls.append((output, count, volume.quiet, volume.verbose))

    own = typer.Typer(
        context_settings={"token_normalize_func": lambda name: options.OLD_NAMES.get(name, name)}
    )
    own.command()(options.everywhere(command))
    monkeypatch.setattr(volume, "quiet", False)
    monkeypatch.setattr(volume, "verbose", False)

    def run(*arguments):
        done = CliRunner().invoke(own, arguments)
        return calls[-1] if done.exception is None else done.exception

    return run


def test_old_names_still_work(small):
    assert small("--out", "x") == small("-o", "x") == (Path("x"), 1, False, False)


def test_flags_of_all_commands_do_what_they_say(small):
    assert small("-o", "x", "-q", "--count", "2") == (Path("x"), 2, True, False)
    assert small("-o", "x", "-v")[3]


def test_a_plugin_is_loaded_before_the_command_runs(small, tmp_path):
    from prosopon.data import READERS

    file = tmp_path / "own.py"
    file.write_text(
        "from prosopon.data import READERS\n"
        "class Nothing:\n"
        "    suffixes = ('.nothing',)\n"
        "    def matches(self, path): return False\n"
        "    def read(self, path, role=None): return []\n"
        "READERS.add('nothing-at-all', Nothing())\n"
    )
    assert small("-o", "x", "--plugin", str(file))[0] == Path("x")
    assert "nothing-at-all" in READERS
    READERS.remove("nothing-at-all")
    assert "there is no such file" in str(small("-o", "x", "--task-file", "nowhere.py"))


def test_a_group_of_options_is_one_value(monkeypatch):
    calls = []

    def command(
        people: options.People, count: int = 1, *, place: options.ModelPlace, last: int = 2
    ) -> None:
        calls.append((people, count, place, last))

    own = typer.Typer()
    own.command()(options.everywhere(command))
    names = list(inspect.signature(own.registered_commands[0].callback).parameters)
    assert names == [
        "personas", "target", "opposite", "prompt", "general", "open_questions", "count",
        "revision", "device", "dtype", "device_map", "last", "plugin", "quiet", "verbose",
    ]  # fmt: skip
    assert CliRunner().invoke(own, []).exception is None
    assert CliRunner().invoke(
        own, ["-t", "x.jsonl", "--device", "cpu", "--count", "3", "--revision", "v2"]
    ).exception is None  # fmt: skip
    assert calls == [
        (options.People(), 1, options.ModelPlace(), 2),
        (options.People(target="x.jsonl"), 3, options.ModelPlace("v2", "cpu"), 2),
    ]


def test_who_is_compared():
    source = options.People("bold,thinking", general="g.txt").source("embedded", "one line")
    assert (source.personas, source.target, source.description) == (
        ("bold", "thinking"),
        None,
        "one line",
    )
    assert options.People(target="x.jsonl", opposite="y.jsonl").source("embedded").personas == ()
    with pytest.raises(UnknownNameError, match="Did you mean 'bold'"):
        options.People("bolt").source("embedded")


@pytest.mark.parametrize("value", ["\udcff", ["fine", "\udcff"]])
def test_names_that_no_file_can_hold(value):
    options.check_text("größe")
    options.check_text(["größe", None, 3])
    with pytest.raises(OptionError, match="not UTF-8"):
        options.check_text(value)
