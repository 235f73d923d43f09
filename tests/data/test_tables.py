"""TOML files: bundled or one's own, and one clear line for what cannot be used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosopon.data.ability import load_ability
from prosopon.data.tables import find_table, is_texts, read_table, table_names, table_rows
from prosopon.errors import DataError, UnknownNameError


@pytest.fixture
def folder(tmp_path):
    for name in ("zebra", "ant"):
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\n[[row]]\nx = 1\n[[row]]\nx = 2\n')
    (tmp_path / "notes.txt").write_text("no table")
    return tmp_path


def test_a_name_or_a_path(folder, tmp_path_factory):
    assert table_names(folder) == ["ant", "zebra"]
    assert find_table("animal", folder, "ant") == folder / "ant.toml"
    own = tmp_path_factory.mktemp("own") / "größe.toml"
    own.write_text("")
    assert find_table("animal", folder, own) == find_table("animal", folder, str(own)) == own
    for wrong in ("antt", folder, "notes.txt"):
        with pytest.raises(UnknownNameError, match=r"unknown animal .*Choices: ant, zebra"):
            find_table("animal", folder, wrong)


def test_rows_say_where_they_stand(folder):
    path = folder / "ant.toml"
    content = read_table(path)
    assert content["name"] == "ant"
    assert table_rows(content, "row", path) == [
        ({"x": 1}, f"{path}: row 1"),
        ({"x": 2}, f"{path}: row 2"),
    ]


@pytest.mark.parametrize(
    "content", [b"", b"row = 1", b"row = []", b"row = [1, 2]", b"[row]\nx = 1"]
)
def test_no_rows(tmp_path, content):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.toml: holds no \[\[row\]\]"):
        table_rows(read_table(tmp_path / "a.toml"), "row", tmp_path / "a.toml")


@pytest.mark.parametrize("content", [b"name = ", b"\xff", b"a = 1\na = 2", b"[[x]\n"])
def test_what_is_no_toml(tmp_path, content):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.toml: "):
        read_table(tmp_path / "a.toml")
    with pytest.raises(DataError, match=r"b\.toml: "):
        read_table(tmp_path / "b.toml")


@given(st.lists(st.text()))
def test_texts_are_not_blank(values):
    assert is_texts(values) is all(value.strip() != "" for value in values)
    assert not is_texts([*values, 1])
    assert not is_texts(" ".join(values))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ('question = " "\nright = "b"\nwrong = ["c"]', "item 1: question and right"),
        ('question = "a"\nright = 3\nwrong = ["c"]', "item 1: question and right"),
        ('question = "a"\nright = "b"', "item 1: wrong must be a list"),
        ('question = "a"\nright = "b"\nwrong = []', "item 1: wrong must be a list"),
        ('question = "a"\nright = "b"\nwrong = ["c", "b"]', "'b' is among the wrong ones"),
    ],
)
def test_an_item_of_ability_that_cannot_be_asked(tmp_path, item, message):
    (tmp_path / "own.toml").write_text(f"[[item]]\n{item}\n")
    with pytest.raises(DataError, match=message):
        load_ability(tmp_path / "own.toml")
