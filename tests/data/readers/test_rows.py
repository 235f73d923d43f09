from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosopon.data.readers.rows import read_rows
from prosopon.errors import DataError


def rows(tmp_path, content, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [tuple(row) for row in read_rows(path, suffix)]


def refused(tmp_path, content, suffix):
    with pytest.raises(DataError) as caught:
        rows(tmp_path, content, suffix)
    message = str(caught.value)
    prefix = f"{tmp_path / f'file{suffix}'}"
    assert message.startswith(prefix)
    assert "\n" not in message
    return message.removeprefix(prefix)


def test_json_lines_skip_blank_ones_and_count_them(tmp_path):
    assert rows(tmp_path, '\n{"a": 1}\r\n  \r\n\n{"b": 2}', ".jsonl") == [
        (2, {"a": 1}),
        (5, {"b": 2}),
    ]


def test_only_a_line_feed_ends_a_json_line(tmp_path):
    text = '{"a": "x\u2028y\u0085z"}\n{"a": "w"}\n'
    assert rows(tmp_path, text, ".jsonl") == [(1, {"a": "x\u2028y\u0085z"}), (2, {"a": "w"})]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_json_list_reports_where_an_item_starts(tmp_path, suffix):
    text = '\n[\n  {"a":\n 1},\n\n  {"b": "[,]"}, {"c": []}\n]\n'
    assert rows(tmp_path, text, suffix) == [
        (3, {"a": 1}),
        (6, {"b": "[,]"}),
        (6, {"c": []}),
    ]


def test_empty_json_list(tmp_path):
    assert rows(tmp_path, " [ ] ", ".json") == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.lists(values, max_size=5), st.sampled_from([None, 0, 2]))
def test_json_list_equals_the_standard_parser(tmp_path_factory, items, indent):
    folder = tmp_path_factory.mktemp("rows", numbered=True)
    text = json.dumps(items, indent=indent)
    found = rows(folder, text, ".json")
    assert [value for _, value in found] == items
    for line, value in found:
        tail = text.split("\n", line - 1)[-1]
        assert json.dumps(value, indent=indent).split("\n")[0] in tail.split("\n")[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"a": 1}\n{"a": }\n', ":2: not valid JSON: Expecting value (column 7)"),
        ('{"a": 1} {"b": 2}', ":1: not valid JSON: Extra data (column 10)"),
        ('{\n"a": 1}', ":1: not valid JSON"),
        ('[\n{"a": 1},\n{"a" 2}]', ":3: not valid JSON: Expecting ':' delimiter (column 6)"),
        ("[1]\n[2]", ":2: not valid JSON: Extra data (column 1)"),
        ('[{"a": 1}', ":1: not valid JSON"),
        ("\n" + "[" * 100_000, ": JSON that cannot be used: nested too deeply"),
        ('\n{"a": ' + "[" * 100_000, ":2: JSON that cannot be used: nested too deeply"),
        ("\n" + "9" * 5000, ":2: JSON that cannot be used: Exceeds the limit"),
    ],
    ids=range(9),
)
def test_broken_json(tmp_path, content, reason):
    assert refused(tmp_path, content, ".jsonl").startswith(reason)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt"])
def test_byte_order_mark(tmp_path, suffix):
    text = {".csv": "a,b\n1,2\n", ".txt": "a"}.get(suffix, '{"a": "b"}')
    assert rows(tmp_path, b"\xef\xbb\xbf" + text.encode(), suffix) == rows(tmp_path, text, suffix)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt"])
def test_invalid_utf8_names_the_line(tmp_path, suffix):
    content = b'{"a": "\xc3\xa9"}\n\n{"a": "\xe9"}\n'
    assert refused(tmp_path, content, suffix) == ":3: not valid UTF-8 (byte 0xe9)"
    assert refused(tmp_path, "a".encode("utf-16"), suffix).startswith(": not UTF-8 but UTF-16")


def test_unreadable_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt: cannot be read: No such file"):
        read_rows(tmp_path / "none.txt", ".txt")


def test_csv(tmp_path):
    text = 'question, matching ,x\r\n"a\nb, c",d,\n\n,,\n"say ""hi""",e,f\n'
    assert rows(tmp_path, text, ".csv") == [
        (2, {"question": "a\nb, c", "matching": "d", "x": ""}),
        (6, {"question": 'say "hi"', "matching": "e", "x": "f"}),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,b\n1,2\n1,2,3\n", ":3: the row has 3 fields, the header 2"),
        ('a,b\n"1\n",2\n1\n', ":4: the row has 1 fields, the header 2"),
        ("a,b, a\n1,2,3", ":1: the header names the column 'a' twice"),
        ('a,b\n1,2\n"1,2\n3', ":3: not valid CSV"),
        ('a,b\n"1"x,2\n', ":2: not valid CSV"),
    ],
)
def test_broken_csv(tmp_path, content, reason):
    assert refused(tmp_path, content, ".csv").startswith(reason)


def test_only_a_header(tmp_path):
    assert rows(tmp_path, "a,b\n", ".csv") == []
    assert rows(tmp_path, "", ".csv") == []


def test_paragraphs(tmp_path):
    text = "\n  One \r\ntwo\n \t \n\n\nThree\r\rFour"
    assert rows(tmp_path, text, ".txt") == [(2, "  One\ntwo"), (7, "Three"), (9, "Four")]
    assert rows(tmp_path, " \n\n", ".txt") == []


def test_lines(tmp_path):
    text = "\n\nOne\r\n two \nthree\n\n"
    assert rows(tmp_path, text, ".txt") == [(3, "One"), (4, " two"), (5, "three")]


paragraphs = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1), min_size=1, max_size=3
).map("\n".join)


@given(st.lists(paragraphs, max_size=4), st.integers(0, 3))
def test_paragraphs_round_trip(tmp_path_factory, items, more):
    text = ("\n" * (2 + more)).join(items)
    if len(items) == 1:
        items = items[0].split("\n")
    found = rows(tmp_path_factory.mktemp("rows", numbered=True), text, ".txt")
    assert [value for _, value in found] == items
    lines = text.split("\n")
    assert all(lines[line - 1] == value.split("\n")[0] for line, value in found)
