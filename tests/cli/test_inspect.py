"""``prosopon inspect``, ``personas`` and ``criteria``: what is shown is what is there."""

import json

import pytest
import torch

from prosopon.cli.inspect import _size
from prosopon.criteria import CRITERIA
from prosopon.subnetwork import Subnetwork, write_pack
from tests.subnetwork.samples import config, subnetwork


@pytest.fixture
def folder(tmp_path):
    keep = {
        "model.layers.0.mlp.up_proj": torch.tensor([[True, False], [False, False]]),
        "model.layers.1.self_attn.q_proj": torch.tensor([[True, True, False]]),
    }
    Subnetwork(keep, config(persona="[v2] \x1b[1m")).save_pretrained(tmp_path / "mask")
    return tmp_path


def test_layers_add_up(prosopon, folder):
    shown = json.loads(prosopon("inspect", "mask", "--json").stdout)
    assert shown["summary"]["by_layer"] == [
        {"layer": 0, "role": "mlp", "pruned": 3, "total": 4},
        {"layer": 1, "role": "attention", "pruned": 1, "total": 3},
    ]
    assert shown["summary"]["pruned"] == 4
    assert shown["summary"]["total"] == 7
    text = prosopon("inspect", "mask").stdout
    assert "4 of 7 (57.143%)" in text
    assert "75.000%" in text
    assert "33.333%" in text


def test_text_from_outside_is_shown(prosopon, folder):
    text = prosopon("inspect", "mask").stdout
    assert "[v2] \\x1b[1m" in text
    assert "\x1b" not in text


def test_bytes():
    facts = {"encoding": "gaps", "format_version": 2, "ranked": False}
    assert _size(facts, {"masks_bytes": None}) == "gaps, format version 2"
    line = _size(facts, {"masks_bytes": 1000, "pruned": 500, "total": 4000})
    assert line == "gaps, format version 2; 1,000 bytes, 0.2500 a weight, 2.00 a pruned weight"
    line = _size(facts, {"masks_bytes": 1000, "pruned": 0, "total": 4000})
    assert line == "gaps, format version 2; 1,000 bytes, 0.2500 a weight"
    line = _size({**facts, "ranked": True}, {"masks_bytes": 1000, "pruned": 400, "total": 4000})
    assert "the ranking takes 400 bytes, the masks alone 600, 1.50 a pruned weight" in line


def test_one_of_a_pack_is_shown_like_a_folder(prosopon, tmp_path):
    write_pack(tmp_path / "x.pack", {"a": subnetwork(0), "b": subnetwork(1, persona="bold")})
    one = json.loads(prosopon("inspect", "x.pack#b", "--json").stdout)
    assert one["config"]["persona"] == "bold"
    assert one["summary"]["pruned"] == subnetwork(1).pruned
    assert "2 personas of org/model" in prosopon("inspect", "x.pack").stdout


def test_options_of_criteria_are_listed_with_their_defaults(prosopon):
    rows = {row["name"]: row for row in json.loads(prosopon("criteria", "--json").stdout)}
    assert set(rows) == set(CRITERIA.names())
    for name, criterion in CRITERIA.items():
        names = {option["name"] for option in rows[name]["options"]}
        assert names == set(criterion.options.__dataclass_fields__)
        assert all(option["help"] for option in rows[name]["options"])
        assert rows[name]["summary"]


def test_personas_have_opposites(prosopon):
    rows = {row["name"]: row for row in json.loads(prosopon("personas", "--json").stdout)}
    for name, row in rows.items():
        if row["opposite"] is None:
            assert name.startswith("library:")  # a character
            continue
        assert rows[row["opposite"]]["opposite"] == name
        assert rows[row["opposite"]]["axis"] == row["axis"]
    shown = prosopon("personas").stdout
    assert all(name in shown for name in rows)
