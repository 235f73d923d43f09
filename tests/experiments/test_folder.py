"""Stores keep what they are given; folders of something else are refused by name."""

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prosopon.errors import ExperimentError
from prosopon.experiments.store import (
    CELLS,
    FORMAT_VERSION,
    HEADER,
    Memory,
    Results,
    check_folder,
    content_key,
    try_writing,
)
from tests.experiments.samples import done
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model

HEAD = {"model": "tiny", "dtype": "float32", "targets": ["*.mlp.*"]}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    return Memory(HEAD) if request.param == "memory" else Results(tmp_path / "out", HEAD)


def test_a_record_comes_back_and_another_key_does_not(store):
    record = done("wanda", choice=[1.0, 0.5], details={"pruned_share": 0.25})
    assert store.get(record.key) is None
    store.put(record)
    assert store.get(record.key) == record
    assert store.get("another") is None


def test_the_last_record_of_a_key_stays(store):
    first, second = done("wanda", choice=[1.0]), done("wanda", choice=[0.0])
    store.put(first)
    store.put(second)
    assert store.get(first.key) == second != first


def test_a_mask_comes_back(store):
    mask = subnetwork(tiny_model("llama")[0], share=0.2)
    assert store.mask("bold-1") is None
    store.put_mask("bold-1", mask)
    store.put_mask("bold-1", mask)  # again is nothing
    assert store.mask("bold-1") == mask


def test_a_header_is_not_the_caller_s_object():
    given = dict(HEAD)
    memory = Memory(given)
    given["model"] = "other"
    assert memory.header["model"] == "tiny"


def test_records_are_sorted_by_seed_kind_arm_and_contrast(tmp_path):
    store = Results(tmp_path / "out", HEAD)
    rows = [
        done(arm, contrast, seed)
        for seed in (0, 1) for arm in ("base", "prompt", "wanda", "random") for contrast in "ab"
    ]  # fmt: skip
    for record in reversed(rows):
        store.put(record)
    assert store.records() == rows


def test_a_kind_of_another_version_stands_last(tmp_path):
    store = Results(tmp_path / "out", HEAD)
    odd = dataclasses.replace(done("odd"), kind="unheard-of")
    for record in (odd, done("random")):
        store.put(record)
    assert [record.kind for record in store.records()] == ["control", "unheard-of"]


def test_a_folder_is_opened_again_with_its_header(tmp_path):
    Results(tmp_path / "out", HEAD).put(done("base"))
    again = Results.open(tmp_path / "out")
    assert again.header == {"format_version": FORMAT_VERSION, **HEAD}
    assert len(again.records()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": "float16"}, 'has dtype "float32", not "float16"; give another --output'),
        ({"targets": None}, r'has targets \["\*.mlp.\*"\], not null'),
        ({"ignore": ["lm_head"]}, "has ignore null, not"),
        ({"model": "x" * 200}, r'not "x{100,}\.\.\.'),
    ],
)
def test_another_header_says_what_differs(tmp_path, change, words):
    Results(tmp_path / "out", HEAD)
    with pytest.raises(ExperimentError, match=words):
        Results(tmp_path / "out", HEAD | change)


def broken(path):
    """Return contents of a cell's file with what is said of them."""
    record = {"format_version": FORMAT_VERSION, **done("base").to_json(), "key": "k"}
    return {
        "{": "cannot be read",
        "[]": "is not a JSON object",
        "\x00": "cannot be read",
        json.dumps({"key": "other"}): "holds the cell 'other'",
        json.dumps({"key": "k"}): "not a cell of this version",
        json.dumps({"key": "k", "format_version": FORMAT_VERSION}): "not a cell",
        json.dumps(record | {"results": []}): "not a cell",
        json.dumps(record | {"cell": {"mood": 1}}): "not a cell",
    }


def test_a_damaged_cell_says_how_to_go_on(tmp_path):
    store = Results(tmp_path / "out", HEAD)
    path = store.path("k")
    assert path == tmp_path / "out" / CELLS / "k.json"
    path.parent.mkdir()
    for text, words in broken(path).items():
        path.write_text(text)
        with pytest.raises(ExperimentError, match=f"{words}.*delete it to run it again"):
            store.get("k")
        with pytest.raises(ExperimentError, match=words):
            store.records()


@given(json_values)
def test_a_key_is_of_what_is_said_and_not_of_its_order(value):
    key = content_key({"a": value, "b": 1})
    assert key == content_key({"b": 1, "a": value})
    assert len(key) == 20
    assert int(key, 16) >= 0
    assert key != content_key({"a": [value, value], "b": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_key_is_of_numbers(value):
    with pytest.raises(ValueError, match="Out of range"):
        content_key({"a": value})


@given(st.dictionaries(st.text(min_size=1), json_values, max_size=3))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_header_is_read_back(tmp_path_factory, header):
    folder = tmp_path_factory.mktemp("any") / "out"
    header.pop("format_version", None)
    Results(folder, header)
    assert Results(folder, header).header == {"format_version": FORMAT_VERSION, **header}


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExperimentError, match="is not empty and holds no experiment"):
        check_folder(tmp_path)
    with pytest.raises(ExperimentError, match="is a file, not a folder"):
        check_folder(tmp_path / "notes.txt")
    with pytest.raises(ExperimentError, match=r"experiment\.json is missing"):
        Results.open(tmp_path)


@pytest.mark.parametrize("name", ["comparison.json", "sweep.json"])
def test_a_folder_of_an_earlier_version_is_named(tmp_path, name):
    (tmp_path / name).write_text("{}")
    for use in (check_folder, Results.open, lambda folder: Results(folder, HEAD)):
        with pytest.raises(ExperimentError, match=f"holds a {name[:-5]} of an earlier version"):
            use(tmp_path)


def test_a_folder_of_another_format_says_its_version(tmp_path):
    (tmp_path / HEADER).write_text(json.dumps({"format_version": 99}))
    with pytest.raises(
        ExperimentError, match=f"format version 99; this prosopon reads {FORMAT_VERSION}"
    ):
        Results.open(tmp_path)


def test_trying_leaves_nothing_behind(tmp_path):
    check_folder(tmp_path / "a" / "b")
    try_writing(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    try_writing(tmp_path / "there")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_place_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExperimentError, match=r"cannot be written .*; give another --output"):
        try_writing(tmp_path / "file" / "below")
