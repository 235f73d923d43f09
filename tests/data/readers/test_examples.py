"""The documented reader of one's own does what the document says."""

from pathlib import Path

import pytest

from prosopon.data import READERS, load_contrast
from prosopon.errors import DataError
from prosopon.plugins import load_plugin

EXAMPLE = Path(__file__).parents[3] / "docs/examples/own_reader.py"


@pytest.fixture(scope="module", autouse=True)
def plugin():
    assert load_plugin(EXAMPLE) == {"format": ["interview"]}
    yield
    READERS.remove("interview")


def test_a_file_is_recognised(tmp_path):
    path = tmp_path / "bold.jsonl"
    path.write_text(
        '{"ask": "A party?", "yes": "Gladly.", "no": "Never."}\n'
        '{"ask": " ", "yes": "Yes.", "no": "No."}\n'
    )
    target, opposite = load_contrast(path)
    assert [e.response for e in target.examples] == ["Gladly."]
    assert [e.response for e in opposite.examples] == ["Never."]
    assert target.examples[0].prompt[0].content == "A party?"
    assert "bold.jsonl: 1 row without a question left out (line 2)" in target.notes


def test_an_error_names_the_line(tmp_path):
    path = tmp_path / "bold.jsonl"
    path.write_text('{"ask": "A party?", "yes": "Gladly."}')
    with pytest.raises(DataError, match=r"bold.jsonl:1: the field 'no' is missing"):
        load_contrast(path)
