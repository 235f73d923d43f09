"""Personas from Python lists, and what readers tell of what they read."""

import os

import pytest

from prosopon.data import Example, Message, Persona, load_contrast, load_persona, read_examples
from prosopon.errors import DataError

TURNS = (Message("user", "Party?"), Message("assistant", "Gladly."))


def answers(persona):
    return [example.response for example in persona.examples]


def test_texts():
    persona = load_persona(["Gladly, all of it.", "I\nsing."], name="bold")
    assert (persona.name, answers(persona)) == ("bold", ["Gladly, all of it.", "I\nsing."])
    assert persona.examples[1].prompt == ()
    assert persona.notes[0].startswith("2 texts")


def test_examples_and_personas():
    examples = [Example(TURNS, "Never.")]
    persona = load_persona(examples)
    assert persona.examples == tuple(examples)
    target, opposite = load_contrast(persona)
    assert target is persona
    assert answers(opposite) == ["Never."]
    assert load_persona(persona, name="bold", limit=1).name == "bold"


@pytest.mark.parametrize(
    ("row", "alternative"),
    [
        ({"question": "Party?", "matching": "Gladly.", "not_matching": "No."}, "No."),
        ({"question": "Party?", "matching": "Gladly."}, None),
        ({"prompt": "Party?", "completion": " Gladly."}, None),
        ({"prompt": "Party?", "chosen": "Gladly.", "rejected": "No."}, "No."),
        (
            {
                "prompt": [{"role": "user", "content": "Party?"}],
                "chosen": [{"role": "assistant", "content": "Gladly."}],
                "rejected": [{"role": "assistant", "content": "No."}],
            },
            "No.",
        ),
        ({"instruction": "Party?", "output": "Gladly."}, None),
        ({"messages": [{"role": m.role, "content": m.content} for m in TURNS]}, None),
    ],
)
def test_rows_of_any_format(row, alternative):
    (example,) = load_persona([row]).examples
    assert (example.messages, example.alternative) == (TURNS, alternative)


def test_a_limit_draws_from_lists_alike():
    target, opposite = load_contrast(
        [f"yes {n}" for n in range(20)], [f"no {n}" for n in range(20)], limit=5, seed=2
    )
    numbers = [[text.split()[1] for text in answers(side)] for side in (target, opposite)]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == 5


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ([], "an empty list"),
        (7, "made of a int: give a name, a file, a Persona, or a list"),
        ({"text": "x"}, "made of a dict"),
        ([3], "row 1: no format fits"),
        ([{"no": "field"}], "row 1: no format fits a first row with the fields no"),
        (["One.", " "], "row 2: the assistant's answer is empty"),
        ([{"prompt": [], "completion": "x"}], "row 1: the field 'prompt' holds no message"),
        ([{"prompt": " ", "completion": "x"}], "row 1: no row has a question"),
    ],
)
def test_what_makes_no_persona(source, reason):
    with pytest.raises(DataError, match=reason):
        load_persona(source)


def test_two_equal_lists_are_no_contrast():
    with pytest.raises(DataError, match="'examples' and 'examples' hold the same examples"):
        load_contrast(["a"], ["a"])


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def test_notes_tell_what_was_read(write):
    lines = load_persona(write("a.txt", "One.\nTwo.\n\n"))
    assert (answers(lines), lines.notes) == (["One.", "Two."], ("a.txt: 2 texts, one a line",))
    paragraphs = load_persona(write("b.txt", "One.\nTwo.\n\nThree.\n"))
    assert answers(paragraphs) == ["One.\nTwo.", "Three."]
    assert paragraphs.notes == ("b.txt: 2 texts, one a paragraph",)
    one = load_persona(write("c.txt", "One."))
    assert one.notes[1] == "c.txt: one example only, which shows no persona"
    rows = load_persona(write("d.jsonl", '{"text": "x"}\n{"text": "y"}\n'))
    assert rows.notes == ("d.jsonl: 2 examples, format prompt-completion",)
    assert Persona("a", ()) == Persona("a", (), notes=("n",))


def test_the_folder_of_a_paper(write, tmp_path):
    """Three sets of train, test and infer files, with a blank question here and there."""
    for name in ("power", "wealth", "survival"):
        head = "question,matching,not_matching,source\n"
        write(f"{name}_train.csv", head + 'A?,Yes,No,x\n" ",Yes,No,x\nB?," Yes",No,x\n,Yes,No,x\n')
        write(f"{name}_test.csv", head + "C?,Yes,No,x\n")
        write(f"{name}_infer.csv", "question,matching\nC?,Yes\n")
    for name in ("power", "wealth", "survival"):
        target, opposite = load_contrast(tmp_path / f"{name}_train.csv")
        assert [e.prompt[0].content for e in target.examples] == ["A?", "B?"]
        assert answers(opposite) == ["No", "No"]
        assert target.notes[1].endswith("2 rows without a question left out (line 3, 5)")
        assert len(load_persona(tmp_path / f"{name}_test.csv")) == 1
        (infer,) = read_examples(tmp_path / f"{name}_infer.csv")
        assert (infer.response, infer.alternative) == ("Yes", None)
        with pytest.raises(DataError, match="gives no alternative answer"):
            load_contrast(tmp_path / f"{name}_infer.csv")


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators_are_named(write, mark):
    path = write("a.csv", mark.join(["question", "matching", "not_matching"]) + "\n")
    with pytest.raises(
        DataError, match=r"a.csv:1: .*separated by .*: save it with commas"
    ) as caught:
        load_persona(path)
    assert repr(mark) in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_named(tmp_path, encoding):
    path = tmp_path / "a.csv"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path.write_bytes((mark + "question,matching\nq,m\n").encode(encoding))
    with pytest.raises(DataError, match="not UTF-8 but UTF-16; save the file as UTF-8"):
        load_persona(path)


def test_a_name_that_is_not_utf_8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    try:
        path.write_text("One.\nTwo.")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    persona = load_persona(path)
    assert persona.name == r"caf\udce9"
    assert persona.examples[0].source == r"caf\udce9.txt:1"
    path.write_text("")
    with pytest.raises(DataError, match="the file is empty") as caught:
        load_persona(path)
    str(caught.value).encode()
