"""The documented criteria of one's own: each in one short file, and each does what it says."""

from pathlib import Path

import pytest
import torch

from prosopon import Extractor
from prosopon.arms import ARMS
from prosopon.criteria import CRITERIA
from prosopon.data import load_persona
from prosopon.errors import OptionError
from prosopon.plugins import load_plugin, unload_plugin
from tests.tiny import tiny_model

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture(scope="module", autouse=True)
def loaded():
    names = load_plugin(FOLDER / "own_criterion.py"), load_plugin(FOLDER / "own_light_criterion.py")
    assert names == ({"criterion": ["varying"]}, {"criterion": ["careful-taylor"]})
    yield
    for file in ("own_criterion.py", "own_light_criterion.py"):
        unload_plugin(FOLDER / file)
    for name in {"varying", "careful-taylor"} & set(ARMS.names()):
        ARMS.remove(name)  # it has followed the criteria
    assert not {"varying", "careful-taylor"} & set(CRITERIA.names())


@pytest.fixture(scope="module")
def extractor():
    general = [f"Line {i} is not about the people." for i in range(10)]
    return Extractor(*tiny_model("llama"), general=general)


def sides():
    return load_persona("extravert", limit=6), load_persona("introvert", limit=6)


@pytest.mark.parametrize("name", ["own_criterion.py", "own_light_criterion.py"])
def test_it_fits_in_one_short_file(name):
    assert len((FOLDER / name).read_text("utf-8").splitlines()) < 40


def test_the_scored_one_keeps_what_varies(extractor):
    target, _ = sides()
    got = extractor.extract(target, criterion="varying", sparsity=0.5, options={"power": "2"})
    statistics = extractor.statistics(target)
    for site in extractor.sites:
        score = site.weight.detach().abs() * statistics[site.name].variance.float()
        count = site.in_features // 2
        floor = score.sort(1, descending=True).values[:, count - 1 : count + 1].mean(1)
        clear = (score - floor[:, None]).abs() > 1e-6 * floor[:, None]
        assert torch.equal((got.keep[site.name] & clear), (score > floor[:, None]) & clear)
    assert got.config.options == {"power": 2.0}
    assert "varying" in ARMS.names()  # so that compare can ask it, too
    with pytest.raises(OptionError, match="power=0"):
        CRITERIA.get("varying").parse_options({"power": 0})


def test_the_light_one_prefers_small_weights(extractor):
    def sizes(criterion, **options):
        mask = extractor.extract(
            *sides(), criterion=criterion, options={"rounds": 2, "damage_weight": 0} | options
        )
        weights = [s.weight.detach().abs()[~mask.keep[s.name]] for s in extractor.sites]
        return mask, torch.cat(weights).mean()

    plain, size = sizes("contrastive-taylor")
    careful, smaller = sizes("careful-taylor", reach=100)
    assert smaller < 0.9 * size
    assert careful.pruned == plain.pruned  # the same budget
    assert careful.levels is not None  # ranked, like every light mask
    same, _ = sizes("careful-taylor", reach=0)
    assert all(torch.equal(same.keep[name], plain.keep[name]) for name in plain.keep)
    with pytest.raises(OptionError, match="reach=-1"):
        CRITERIA.get("careful-taylor").parse_options({"reach": -1})
