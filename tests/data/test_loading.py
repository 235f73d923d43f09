from __future__ import annotations

import json

import pytest

from prosopon.data import Example, Message, Persona, bundled, load_contrast, load_persona
from prosopon.errors import DataError, OptionError


def pair(answer, alternative=None):
    messages = (Message("user", "Party?"), Message("assistant", answer))
    return Example(messages, alternative)


@pytest.fixture(autouse=True)
def few_bundled(monkeypatch):
    """Two bundled personas, so that these tests depend on no real one."""
    personas = {
        "extravert": Persona("extravert", (pair("Yes", "No"), pair("Sure", "Never")), "Likes it."),
        "introvert": Persona("introvert", (pair("No"), pair("Never"))),
    }
    monkeypatch.setattr(bundled, "names", lambda: list(personas))
    monkeypatch.setattr(bundled, "load", personas.__getitem__)
    axis = {"extravert": "introvert", "introvert": "extravert"}
    monkeypatch.setattr(bundled, "opposite", axis.__getitem__)
    return personas


@pytest.fixture
def file(tmp_path):
    """Twenty questions whose answers are their numbers."""

    def write(name="bold.jsonl", count=20, prefix=""):
        rows = [
            {"instruction": f"Count {number}", "input": "", "output": f"{prefix}{number}"}
            for number in range(count)
        ]
        path = tmp_path / name
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return str(path)

    return write


def answers(persona):
    return [example.response for example in persona.examples]


def test_bundled(few_bundled):
    assert load_persona("extravert") == few_bundled["extravert"]
    named = load_persona("extravert", name="loud")
    assert (named.name, named.description) == ("loud", "Likes it.")


def test_file(file):
    persona = load_persona(file())
    assert persona.name == "bold"
    assert answers(persona) == [str(number) for number in range(20)]
    assert persona.examples[3].source == "bold.jsonl:4"
    assert load_persona(file(), name="brave").name == "brave"


def test_a_bundled_name_wins_over_a_file(file, tmp_path, monkeypatch):
    file("extravert", count=1)
    monkeypatch.chdir(tmp_path)
    assert answers(load_persona("extravert")) == ["Yes", "Sure"]
    assert answers(load_persona("./extravert", format="alpaca")) == ["0"]


def test_home_folder(file, tmp_path, monkeypatch):
    file()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert len(load_persona("~/bold.jsonl")) == 20


def test_limit_keeps_the_order_and_depends_on_the_seed_alone(file):
    path = file()
    some = answers(load_persona(path, limit=7, seed=3))
    assert len(set(some)) == 7
    assert some == sorted(some, key=int)
    assert some == answers(load_persona(path, limit=7, seed=3))
    assert some != answers(load_persona(path, limit=7, seed=4))
    assert answers(load_persona(path, limit=20)) == answers(load_persona(path, limit=99))
    assert len(load_persona("extravert", limit=1)) == 1


@pytest.mark.parametrize("limit", [0, -3])
def test_limit_out_of_range(limit):
    with pytest.raises(OptionError, match=f"limit is {limit}"):
        load_persona("extravert", limit=limit)


@pytest.mark.parametrize(
    "source", ["extravret", "none.jsonl", "", " ", "~nobody-is-called-so/x", "a\0b", "x" * 5000]
)
def test_a_source_that_is_nowhere(source):
    with pytest.raises(DataError) as caught:
        load_persona(source)
    message = str(caught.value)
    assert message.startswith(f"no such file: {source!r}, and no bundled persona is called so.")
    assert "Bundled personas: extravert, introvert; " in message
    assert "hf:org/name" in message
    assert ("Did you mean 'extravert'?" in message) is (source == "extravret")


def test_a_folder(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        load_persona(str(tmp_path))


def test_contrast_of_two_files_stays_aligned(file):
    sources = file("a.jsonl"), file("b.jsonl", prefix="not ")
    target, opposite = load_contrast(*sources, limit=5, seed=1)
    assert (target.name, opposite.name) == ("a", "b")
    assert [e.prompt for e in target.examples] == [e.prompt for e in opposite.examples]
    assert answers(opposite) == [f"not {answer}" for answer in answers(target)]


def test_contrast_of_a_bundled_persona_is_the_other_end_of_its_axis(few_bundled):
    assert load_contrast("extravert") == tuple(few_bundled.values())
    assert load_contrast("introvert", None) == tuple(few_bundled.values())[::-1]


def test_contrast_with_the_alternatives(tmp_path):
    path = tmp_path / "bold.csv"
    path.write_text("question,matching,not_matching\na,Yes,No\nb,Sure,Never\n", encoding="utf-8")
    target, opposite = load_contrast(str(path), None)
    assert opposite == target.opposite()
    assert (opposite.name, answers(opposite)) == ("not-bold", ["No", "Never"])
    target, opposite = load_contrast(str(path), limit=1)
    assert opposite == target.opposite()
    assert len(opposite) == 1


def test_contrast_with_the_format_by_name(file):
    target, opposite = load_contrast(file("a.x"), file("b.x", prefix="no "), format="alpaca")
    assert len(target) == len(opposite) == 20
    assert load_contrast(file("a.x"), "introvert", format="alpaca")[1].name == "introvert"


def test_contrast_that_is_none(file):
    with pytest.raises(DataError, match=r"bold\.jsonl:1: .*name an opposite persona"):
        load_contrast(file())
    with pytest.raises(DataError, match="hold the same examples: there is no contrast"):
        load_contrast("extravert", "extravert")


def test_real_contrast(shared):
    path = shared / "data/model-written-evals/persona/extraversion.jsonl"
    target, opposite = load_contrast(str(path), limit=50)
    assert (target.name, opposite.name) == ("extraversion", "not-extraversion")
    flip = {"Yes": "No", "No": "Yes"}
    assert [flip[answer] for answer in answers(target)] == answers(opposite)
