"""Data sets, offline: from local folders, and from a library that fails as the Hub does."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from prosopon.data import load_contrast, load_persona, parse_address, read_hub
from prosopon.errors import DataError


@pytest.mark.parametrize(
    ("source", "path", "config", "split", "name"),
    [
        ("hf:org/name", "org/name", None, None, "name"),
        ("hf:name", "name", None, None, "name"),
        ("hf:org/name:test", "org/name", None, "test", "name"),
        ("hf:org/name@en", "org/name", "en", None, "name"),
        ("hf:org/name@en-US.v2:test", "org/name", "en-US.v2", "test", "name"),
        ("hf:org/name@en:train[:100]", "org/name", "en", "train[:100]", "name"),
        ("hf:org/name:train[10%:20%]", "org/name", None, "train[10%:20%]", "name"),
        ("hf:./folder/data/:dev", "./folder/data/", None, "dev", "data"),
        ("hf:/home/me@work/data", "/home/me@work/data", None, None, "data"),
        ("hf:/home/me@work/data@en", "/home/me@work/data", "en", None, "data"),
        (r"hf:C:\data\set:train", r"C:\data\set", None, "train", "set"),
        (r"hf:C:\data\set", r"C:\data\set", None, None, "set"),
    ],
)
def test_parse_address(source, path, config, split, name):
    parsed = parse_address(source)
    assert tuple(parsed) == (path, config, split, None)
    assert parsed.name == name


def test_one_role_of_a_data_set(tmp_path, library):
    rows = [{"role": role, "question": "Q?", "generated": [role]} for role in ("Ann", "Bob Lee")]
    address = folder(tmp_path, train=rows)
    persona = load_persona(f"{address}:train#Bob Lee")
    assert (persona.name, answers(persona.examples)) == ("Bob Lee", ["Bob Lee"])
    with pytest.raises(DataError, match="holds several roles; name one of them, as in FILE#Ann"):
        load_persona(address)


@pytest.mark.parametrize("source", ["hf:", "hf:  "])
def test_parse_nothing(source):
    with pytest.raises(DataError, match="names no data set; write hf:org/name"):
        parse_address(source)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The datasets library with its cache in a temporary folder."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


def folder(tmp_path, **splits):
    """Write a data set of JSON lines, a file a split, and return its source."""
    target = tmp_path / "bold"
    target.mkdir()
    for split, rows in splits.items():
        text = "\n".join(map(json.dumps, rows))
        (target / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return f"hf:{target}"


def task(answer):
    return {"instruction": "Say it", "input": " ", "output": answer}


def answers(examples):
    return [example.response for example in examples]


def test_local_folder(tmp_path, library):
    source = folder(tmp_path, train=[task("a"), task("b")], test=[task("c")])
    persona = load_persona(source)
    assert persona.name == "bold"
    assert answers(persona.examples) == ["a", "b"]
    assert persona.examples[1].source == f"{source}:train:2"
    assert answers(read_hub(f"{source}:test").examples) == ["c"]
    assert answers(read_hub(f"{source}:train[1:]").examples) == ["b"]
    target, opposite = load_contrast(source, f"{source}:test")
    assert (len(target), len(opposite)) == (2, 1)


def test_messages_with_a_missing_alternative(tmp_path, library):
    turns = [{"role": "user", "content": "Party?"}, {"role": "assistant", "content": "Yes"}]
    rows = [{"messages": turns}, {"messages": turns, "alternative": "No"}]
    examples = read_hub(folder(tmp_path, train=rows)).examples
    assert [example.alternative for example in examples] == [None, "No"]
    assert answers(examples) == ["Yes", "Yes"]


def test_the_only_split_needs_no_name(tmp_path, library):
    assert answers(read_hub(folder(tmp_path, test=[task("c")])).examples) == ["c"]


def test_several_splits_without_train(tmp_path, library):
    source = folder(tmp_path, test=[task("c")], validation=[task("d")])
    with pytest.raises(DataError, match=r"name one of its splits, as in :test; .*'validation'"):
        read_hub(source)


def test_unknown_split_and_format(tmp_path, library):
    source = folder(tmp_path, train=[task("a")])
    with pytest.raises(DataError, match=r"cannot be loaded: .*dev") as caught:
        read_hub(f"{source}:dev")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="unknown format 'nope'"):
        read_hub(source, "nope")


def test_bad_rows(tmp_path, library):
    source = folder(tmp_path, train=[task("a"), task("")], test=[task("c")])
    with pytest.raises(DataError) as caught:
        read_hub(source)
    assert str(caught.value) == f"{source}:train:2: the field 'output' is empty"


def test_rows_of_no_known_format(tmp_path, library):
    source = folder(tmp_path, train=[{"body": "x"}])
    with pytest.raises(DataError, match=r"first row with the fields body\. Formats: alpaca"):
        read_hub(source)


def test_splits_that_do_not_fit_together(tmp_path, library):
    source = folder(tmp_path, train=[task("a")], test=[{"text": "x"}])
    with pytest.raises(
        DataError, match=r"cannot be loaded: .*generating the dataset.*: ."
    ) as caught:
        read_hub(source)
    assert "\n" not in str(caught.value)


def test_missing_folder(tmp_path, library):
    with pytest.raises(DataError, match=r"hf:.*none: cannot be loaded: ") as caught:
        read_hub(f"hf:{tmp_path / 'none'}")
    assert "\n" not in str(caught.value)


def test_no_rows(monkeypatch):
    def load_dataset(path, config, split):
        return []

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(DataError, match=r"^hf:org/name:train: the data set is empty"):
        read_hub("hf:org/name:train")


def test_what_is_asked_of_the_hub(monkeypatch):
    asked = []

    def load_dataset(path, config, split):
        asked.append((path, config, split))
        return [task("a")] if split else {"train": [task("a")]}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert load_persona("hf:org/name@en:test").name == "name"
    assert load_persona("hf:org/name").examples[0].source == "hf:org/name:train:1"
    assert asked == [("org/name", "en", "test"), ("org/name", None, None)]


@pytest.mark.parametrize("error", [ConnectionError("no\n  route"), ValueError(""), OSError("no")])
def test_errors_of_the_library_are_one_line(monkeypatch, error):
    def load_dataset(*args, **kwargs):
        raise error

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    reason = " ".join(str(error).split()) or type(error).__name__
    with pytest.raises(DataError) as caught:
        read_hub("hf:org/name")
    assert str(caught.value) == f"hf:org/name: cannot be loaded: {reason}"


def test_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'prosopon\[hub\]'"):
        load_persona("hf:org/name")
