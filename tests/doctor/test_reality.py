"""Plans against what really happened: files written here, and the figures that are committed."""

import json
import re
from pathlib import Path

import pytest

from prosopon.doctor.blueprint import read_blueprint
from prosopon.doctor.job import resolve_job
from prosopon.doctor.memory import mask_bytes
from prosopon.doctor.plan import plan_export
from prosopon.export import export_persona
from tests.export.samples import quiet
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model

pytestmark = quiet
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "design" / "planning.md").read_text("utf-8")
ROWS = json.loads((ROOT / "benchmarks" / "results" / "planning.json").read_text("utf-8"))
ROWS = ROWS["plan"]["results"]


@pytest.fixture
def persona(folder_of):
    """A tiny model, its plan's blueprint, and a persona of it."""
    model, tokenizer = tiny_model("llama", chat=True)
    return model, tokenizer, read_blueprint(str(folder_of("llama")[0])), subnetwork(model)


@pytest.mark.parametrize("format", ["checkpoint", "lora"])
def test_an_export_is_as_large_as_planned(persona, tmp_path, format):
    model, tokenizer, blueprint, mask = persona
    job = resolve_job(blueprint, criterion="wanda")
    planned = {part.what.split(",")[0]: part.nbytes for part in plan_export(blueprint, job).files}
    options = {"rank": "16"} if format == "lora" else {}
    export_persona(model, tokenizer, mask, format=format, output=tmp_path / "out", options=options)
    files = (tmp_path / "out").glob("*.safetensors")
    written = sum(file.stat().st_size for file in files)
    headers = 6000  # a tiny model's names are as long as its weights
    assert planned[format] <= written <= planned[format] + headers


def test_a_mask_of_the_embedded_model_is_as_large_as_planned(tmp_path):
    import torch

    from prosopon.subnetwork.encodings import Masks, encode_masks

    blueprint = read_blueprint("embedded")
    generator = torch.Generator().manual_seed(1)
    for criterion, encoding in (("wanda", "packed"), ("contrastive-taylor", "gaps")):
        job = resolve_job(blueprint, criterion=criterion)
        keep = {
            site.name: torch.rand(site.rows, site.columns, generator=generator) >= job.share
            for site in blueprint.sites
        }
        levels = {n: torch.zeros(int((~m).sum()), dtype=torch.uint8) for n, m in keep.items()}
        masks = Masks(keep, levels if encoding == "gaps" else None)
        written = len(encode_masks(masks, encoding))
        names = 250 * len(blueprint.sites)
        assert abs(written - mask_bytes(blueprint, job)) < 0.05 * written + names


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_plans_were_near_what_was_measured(row):
    assert 0.7 < row["ratio"] < 1.3
    least, most = row["planned_seconds"]
    assert least < row["seconds"] < most


def test_the_page_shows_what_was_measured():
    pattern = r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| (.+?) \| (\d+) \|$"
    lines = re.findall(pattern, PAGE, re.MULTILINE)
    assert len(lines) == len(ROWS)
    for (name, measured, planned, span, seconds), row in zip(lines, ROWS, strict=True):
        assert row["name"] == f"peak memory, {name}"
        assert float(measured) == round(row["bytes"] / 1e9, 2)
        assert float(planned) == round(row["baseline_bytes"] / 1e9, 2)
        assert span == "{:.0f} to {:.0f}".format(*row["planned_seconds"])
        assert int(seconds) == round(row["seconds"])
