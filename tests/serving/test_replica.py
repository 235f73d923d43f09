"""What a replica holds: all of it or nothing new, the same as its siblings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from prosopon.errors import OptionError, PersonaError, SubnetworkError, UnknownNameError
from prosopon.models import fingerprint
from prosopon.serving.refusal import Refusal
from prosopon.serving.replica import ReplicaService, ReplicaSettings
from prosopon.serving.shelf import Shelf
from prosopon.subnetwork.pack import write_pack
from tests.runtime import samples as weights
from tests.serving import samples


@pytest.fixture
def folder(tmp_path):
    model = samples.wearer(personas=()).model
    masks = {name: samples.mask(model, name, seed) for seed, name in enumerate("abcd")}
    for name in ("a", "b"):
        masks[name].save_pretrained(tmp_path / name)
    write_pack(tmp_path / "two.pack", {name: masks[name] for name in ("c", "d")})
    return tmp_path


@pytest.fixture
def replica(folder):
    wearer = samples.wearer(personas=())
    base = weights.weights(wearer.model)
    settings, pins = ReplicaSettings(personas=str(folder)).resolve()
    service = ReplicaService(wearer, settings["name"], Shelf(folder), pins=pins)
    service.engine.start()
    yield service
    service.engine.close()
    weights.assert_bits(wearer.model, base)


def test_every_replica_gets_the_same_settings(folder):
    settings, pins = ReplicaSettings(model="/models/tiny", personas=str(folder), rows=3).resolve()
    assert settings["name"] == "tiny"
    assert settings["rows"] == 3
    assert ReplicaSettings(**settings).resolve() == (settings, pins)
    assert sorted(pins) == ["a", "b", "two.pack"]
    assert len(set(pins.values())) == 3
    assert ReplicaSettings().resolve()[1] == {}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"personas": "personas"}, OptionError, "args.personas personas: give it absolute"),
        ({"personas": "/no/such"}, SubnetworkError, "/no/such: no such folder of personas"),
        ({"name": "a:b"}, OptionError, "no colon"),
    ],
)
def test_settings_that_no_replica_can_have_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        ReplicaSettings(**settings).resolve()
    with pytest.raises(ValidationError, match="raws"):
        ReplicaSettings(raws=3)


def test_it_holds_what_is_asked_for_and_nothing_else(replica):
    sources = replica.shelf.sources
    for wanted, names in [
        (None, ["a", "b", "c", "d"]),
        (["a"], ["a"]),
        (["a", "two.pack#d"], ["a", "d"]),
        ([], []),
        (["two.pack", "b"], ["b", "c", "d"]),
    ]:
        replica.hold(wanted)
        held = replica.describe()
        assert held["personas"] == names
        assert held["digests"].keys() == set(sources if wanted is None else wanted)
        assert held["intact"]
        assert held["fingerprint"] == fingerprint(replica.engine.wearer.sites).weights


def test_what_cannot_be_loaded_changes_nothing(replica):
    replica.hold(["a"])
    for wanted, error, message in [
        (["b", "nobody"], UnknownNameError, "unknown persona 'nobody'"),
        (["b", "hf:org/name"], PersonaError, "replicas could get different versions"),
        (["two.pack", "two.pack#c"], PersonaError, "c"),
    ]:
        with pytest.raises(error, match=message):
            replica.hold(wanted)
        assert replica.describe()["personas"] == ["a"]


def test_a_source_that_changed_since_the_deployment_is_refused(replica, folder):
    replica.hold(["a"])
    samples.mask(samples.wearer(personas=()).model, "b", 9).save_pretrained(folder / "b")
    with pytest.raises(PersonaError, match="b: was changed after the application was deployed"):
        replica.hold(["a", "b"])
    assert replica.describe()["personas"] == ["a"]
    (folder / "b").rename(folder / "new")  # it came later, so nobody holds what it was
    replica.hold(["a", "new"])
    assert replica.describe()["personas"] == ["a", "new"]


def test_one_alone_neither_loads_nor_unloads(replica):
    replica.hold(["a"])
    for change in (lambda: replica.load("b"), lambda: replica.unload("a")):
        with pytest.raises(Refusal, match=r"one alone must not change.*serve deploy") as refused:
            change()
        assert (refused.value.status, refused.value.code) == (409, "many_replicas")
    assert replica.personas == ["a"]
