"""Layers and parts: which sites are left."""

import pytest

from prosopon.errors import OptionError, SiteError
from prosopon.models import find_sites, parse_layers, restrict_sites
from tests.tiny import FAMILIES, tiny_model


@pytest.mark.parametrize(
    ("text", "layers"),
    [("2-5,7", [2, 3, 4, 5, 7]), ("0", [0]), ("3, 1-1 ,3", [1, 3]), ("0-1,1-2", [0, 1, 2])],
)
def test_layers_are_read(text, layers):
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["", "a", "2-", "-1", "5-2", "1;2", "1,,2", "1.5"])
def test_layers_that_cannot_be_read(text):
    with pytest.raises(OptionError, match="write them as 2-5,7"):
        parse_layers(text)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family):
    sites = find_sites(tiny_model(family)[0])
    parts = [restrict_sites(sites, only=only) for only in ("attention", "mlp")]
    assert all(parts)
    assert sorted(s.name for part in parts for s in part) == sorted(s.name for s in sites)
    halves = [restrict_sites(sites, layers=layer) for layer in ("0", "1")]
    assert [s for half in halves for s in half] == sites
    both = restrict_sites(sites, layers="1", only="mlp")
    assert all(s.layer == 1 and s.role == "mlp" for s in both)
    assert restrict_sites(sites) == sites


def test_what_is_not_there():
    sites = find_sites(tiny_model("llama")[0])
    with pytest.raises(SiteError, match="no sites in layer 2; the layers with sites are 0 to 1"):
        restrict_sites(sites, layers="1-3")
    with pytest.raises(OptionError, match="choose one of attention, mlp"):
        restrict_sites(sites, only="experts")
    attention = restrict_sites(sites, only="attention")
    with pytest.raises(SiteError, match="no such site is left; the model's are: attention"):
        restrict_sites(attention, only="mlp")
