"""The command of the page: what it refuses and says, and the personas it offers."""

import sys

import pytest

from prosopon.cli.options import ModelPlace
from prosopon.cli.ui import known_personas, place_words
from prosopon.data import bundled, library, load_persona


def test_what_is_not_installed_is_named(prosopon, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith("prosopon.page.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    done = prosopon("ui", "--personas", tmp_path / "new", code=2)
    assert "ui needs gradio: pip install 'prosopon[ui]'" in done.stderr
    assert not (tmp_path / "new").exists()


def test_both_commands_have_the_options_of_a_server(prosopon):
    shown = {command: prosopon(command, "-h").stdout for command in ("serve", "ui")}
    for option in ("--name", "--host", "--port", "--rows", "--queue", "--mixing", "--max-tokens"):
        assert all(option in text for text in shown.values())


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("embedded", bundled.names()),
        ("smollm2", [library.PREFIX + name for name in library.names()]),
    ],
)
def test_the_personas_that_come_along_suit_the_model(model, names):
    known, questions = known_personas(model)
    assert known == names
    assert len(set(questions)) == 3
    persona = load_persona(known[0])
    assert questions[0] in {example.prompt[-1].content for example in persona.examples}


def test_what_stands_in_the_way_is_said(prosopon, tmp_path, monkeypatch):
    pytest.importorskip("gradio")
    monkeypatch.delenv("PROSOPON_API_KEY", raising=False)
    (tmp_path / "file").write_text("")
    for arguments, words in (
        (["--personas", tmp_path / "file"], "file: is a file, not a folder of personas"),
        (["--host", "0.0.0.0"], "set PROSOPON_API_KEY, or listen on 127.0.0.1"),
        (["--name", "a:b"], "--name 'a:b'"),
    ):
        assert words in prosopon("ui", *arguments, code=2).stderr


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (ModelPlace(), []),
        (ModelPlace(device="cpu", dtype="float32"), ["--device", "cpu", "--dtype", "float32"]),
        (
            ModelPlace(revision="v1", device_map="auto"),
            ["--revision", "v1", "--device-map", "auto"],
        ),
        (ModelPlace(device_map="cpu"), ["--device-map", "cpu"]),
    ],
)
def test_a_persona_is_made_with_the_model_that_is_served(place, words):
    assert place_words("some/model", place) == ["--model", "some/model", *words]
