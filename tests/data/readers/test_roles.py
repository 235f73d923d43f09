"""Files that hold many roles: one is named, and nothing is mixed in silence."""

import json

import pytest

from prosopon.data import load_contrast, load_persona, read_examples
from prosopon.data.readers import Row, parse_rows
from prosopon.errors import DataError


@pytest.fixture
def bench(tmp_path):
    rows = [
        {"role": role, "question": f"Q{number}?", "generated": [f"{role} {number}."]}
        for number in range(3)
        for role in ("Ann", "Bob Lee")
    ]
    path = tmp_path / "bench.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def test_one_role_of_a_file(bench):
    found = load_persona(f"{bench}#Bob Lee")
    assert found.name == "Bob Lee"
    assert [e.response for e in found.examples] == ["Bob Lee 0.", "Bob Lee 1.", "Bob Lee 2."]
    assert [e.source for e in found.examples] == [f"bench.jsonl:{n}" for n in (2, 4, 6)]


def test_two_roles_are_a_contrast_over_the_same_questions(bench):
    target, opposite = load_contrast(f"{bench}#Ann", f"{bench}#Bob Lee")
    assert (target.name, opposite.name) == ("Ann", "Bob Lee")
    assert [e.prompt for e in target.examples] == [e.prompt for e in opposite.examples]


def test_a_role_must_be_named_and_known(bench):
    with pytest.raises(DataError, match=r"several roles; name one of them, as in FILE#Ann. R.*Lee"):
        load_persona(str(bench))
    with pytest.raises(DataError, match=r"no row is of the role 'Cy'. Roles: Ann, Bob Lee"):
        load_persona(f"{bench}#Cy")
    rows = [Row(1, {"role": r, "question": "Q", "generated": ["a"]}) for r in "ab"]
    with pytest.raises(DataError, match="row 1: holds several roles"):
        parse_rows(rows, "row {}".format)
    assert len(parse_rows(rows[:1], "row {}".format).examples) == 1
    assert parse_rows([], "row {}".format, "rolebench").examples == []


def test_a_file_of_one_role_needs_no_name(tmp_path):
    path = tmp_path / "self_knowledge.json"
    rows = [
        {"target_role": "Ann", "instruction": "You bake.", "answer": True},
        {"target_role": "Ann", "instruction": "You fly.", "answer": False},
    ]
    path.write_text(json.dumps(rows), "utf-8")
    found = read_examples(path)
    assert [(e.response, e.alternative) for e in found] == [("True", "False"), ("False", "True")]
    target, opposite = load_contrast(f"{path}#Ann")
    assert (target.name, opposite.name) == ("Ann", "not-Ann")


def test_a_bad_row_names_file_and_line(bench):
    with bench.open("a") as file:
        file.write('\n{"role": "Ann", "question": "Q?", "generated": []}\n{"question": "Q?"}')
    with pytest.raises(DataError, match=r"bench.jsonl:8: the field 'role' is missing"):
        load_persona(f"{bench}#Ann")
    bench.write_text('{"role": "Ann", "question": "Q?", "generated": []}')
    with pytest.raises(DataError, match=r"bench.jsonl:1: the field 'generated' is not a list"):
        load_persona(f"{bench}#Ann")


def test_formats_without_roles_and_files_with_a_mark(tmp_path):
    path = tmp_path / "plain#one.txt"
    path.write_text("A text.")
    assert load_persona(str(path)).name == "plain#one"
    with pytest.raises(DataError, match="the format 'text' knows no roles, such as 'Ann'"):
        load_persona(f"{path}#Ann")
    with pytest.raises(DataError, match="no such file"):
        load_persona(f"{tmp_path}/nowhere.jsonl#Ann")
