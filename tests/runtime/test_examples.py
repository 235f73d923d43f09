"""The examples in the docstrings run as they stand, one after the other."""

import inspect
import re
import textwrap

from prosopon import PersonaModel, Subnetwork


def example(thing):
    """Return the code under ``Example::`` in a docstring."""
    text = inspect.getdoc(thing).partition("Example::\n")[2]
    block = re.match(r"(?:\s*\n| {4,}.*\n)+", text)
    return textwrap.dedent(block[0])


def test_a_mask_is_extracted_written_read_and_worn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(example(Subnetwork), {})
    assert capsys.readouterr().out.startswith("Subnetwork('extravert', 28 sites, ")
    names = {}
    code = example(PersonaModel)
    streamed = textwrap.indent(example(PersonaModel.chat), "    ")
    exec(code + streamed, names)
    worn, base, piece = capsys.readouterr().out.split("\n", 2)
    assert len({worn, base, ""}) == 3
    assert piece
    assert names["model"].active is None
