"""A live server with a folder of personas, whose base weights come back bit for bit."""

import pytest

from prosopon.serving.shelf import Shelf
from prosopon.subnetwork.pack import write_pack
from tests.runtime import samples as weights
from tests.serving import samples


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    attached = samples.wearer(personas=())
    folder, model = tmp_path_factory.mktemp("personas"), attached.model
    base = weights.weights(model)
    for seed, name in enumerate(("bold", "calm")):
        samples.mask(model, name, seed).save_pretrained(folder / name)
    write_pack(folder / "some.pack", {"late": samples.mask(model, "late", 5)})
    with samples.running(attached, shelf=Shelf(folder), queue=8) as server:
        yield server
    weights.assert_bits(model, base)


@pytest.fixture
def service(live):
    return live.service
