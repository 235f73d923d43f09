from __future__ import annotations

import json
import math

import pytest
import torch
from pydantic import ValidationError

from prosopon.subnetwork import SubnetworkConfig, portable_name, site_records
from tests.subnetwork.samples import config


def test_survives_json():
    before = config()
    assert SubnetworkConfig.model_validate_json(before.model_dump_json()) == before


def test_options_become_what_the_file_will_say():
    assert config(options={"range": (1, 2)}).options == {"range": [1, 2]}


@pytest.mark.parametrize(
    "options", [{"a": math.nan}, {"a": torch.float32}, {"a": object()}, {"a": "\ud800"}]
)
def test_options_that_no_file_can_hold_are_refused_at_once(options):
    with pytest.raises(ValidationError, match="options"):
        config(options=options)


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": 1},
        {"format_version": 3},
        {"format_version": 1, "encoding": "gaps"},
        {"format_version": 1, "ranked": True},
        {"encoding": "morse"},
        {"sparsity": math.nan},
        {"fingerprint": {"architecture": "a"}},
        {"sites": {"a": {"shape": [0, 3], "pruned": 0}}},
        {"sites": {"a": {"shape": [2, 3], "pruned": -1}}},
        {"sites": {"a": {"shape": [2, 3, 4], "pruned": 1}}},
    ],
)
def test_refuses_what_it_does_not_know(changes):
    with pytest.raises(ValidationError):
        config(**changes)


def test_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        config().persona = "another"


def test_site_records_describe_the_masks():
    mask = torch.tensor([[True, False, False], [True, True, False]])
    record = site_records({"a": mask})["a"]
    assert (record.shape, record.pruned) == ((2, 3), 3)
    assert json.loads(record.model_dump_json()) == {"shape": [2, 3], "pruned": 3}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("embedded", "embedded"),
        ("gpt2", "gpt2"),
        ("org/model", "org/model"),
        ("/home/someone/models/big", "big"),
        ("./big", "big"),
        ("~/big", "big"),
        ("runs/first/big/", "big"),
        ("here/model", "model"),  # a folder that is there
    ],
)
def test_a_model_is_called_elsewhere_by_no_path(model, expected, tmp_path, monkeypatch):
    (tmp_path / "here/model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert portable_name(model) == expected
