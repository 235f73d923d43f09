"""Personas loaded, listed and unloaded at run time, by administrators, under load too."""

from __future__ import annotations

import json
import shutil
import threading
from urllib.parse import quote

import pytest

from prosopon.errors import PersonaError
from prosopon.models import fingerprint
from prosopon.serving.access import Keys
from prosopon.serving.server import Address
from prosopon.serving.service import Limits, Service
from prosopon.serving.shelf import Shelf
from prosopon.subnetwork.pack import write_pack
from prosopon.subnetwork.storage import MASKS_NAME
from tests.runtime import samples as weights
from tests.serving import samples
from tests.serving.samples import HTTP
from tests.tiny import tiny_model

ADMIN = {"Authorization": "Bearer admin"}
CHAT = {"messages": [{"role": "user", "content": "Hi"}], "seed": 1, "max_tokens": 8}


@pytest.fixture
def served(tmp_path):
    """Return a server of a shelf with two personas, a pack of two, a stranger and a ruin."""
    attached = samples.wearer(personas=())
    folder = tmp_path / "personas"
    masks = {name: samples.mask(attached.model, name, seed) for seed, name in enumerate("abcd")}
    masks["a"].save_pretrained(folder / "bold")
    masks["b"].save_pretrained(folder / "calm")
    other, _ = tiny_model(seed=5)
    samples.mask(other, "x").save_pretrained(folder / "stranger")
    masks["a"].save_pretrained(folder / "ruin")
    (folder / "ruin" / MASKS_NAME).write_bytes(b"ruin")
    base = weights.weights(attached.model)
    before = fingerprint(attached.sites)
    keys, address = Keys(admins=["admin"]), Address(port=0)
    with samples.running(attached, shelf=Shelf(folder), keys=keys, address=address) as live:
        live.folder, live.masks = folder, masks
        yield live
    weights.assert_bits(attached.model, base)
    assert fingerprint(attached.sites) == before


def admin(live, method="GET", path="", **body):
    return HTTP.request(
        method, f"{live.url}/admin/personas{path}", headers=ADMIN, json=body or None, timeout=30
    )


def ask(live, name, **settings):
    body = CHAT | settings | {"model": f"tiny:{name}" if name else "tiny"}
    return HTTP.post(f"{live.url}/v1/chat/completions", json=body, timeout=30)


def answer(live, name):
    return ask(live, name).json()["choices"][0]["message"]["content"]


def test_what_can_be_loaded_is_loaded_at_the_start(served):
    state = admin(served).json()
    assert state["loaded"] == ["bold", "calm"]
    assert state["sources"] == ["bold", "calm", "ruin", "stranger"]
    assert sorted(state["skipped"]) == ["ruin", "stranger"]
    assert "ruin" in state["skipped"]["ruin"]
    assert str(served.folder.parent.parent) not in json.dumps(state["skipped"]["stranger"])


def test_a_persona_comes_and_goes(served):
    before = answer(served, "bold")
    served.masks["c"].save_pretrained(served.folder / "new one")
    reply = admin(served, "POST", source="new one")
    assert (reply.status_code, reply.json()) == (201, {"loaded": ["new one"]})
    assert answer(served, "new one") not in ("", before)
    gone = admin(served, "DELETE", f"/{quote('new one')}")
    assert (gone.status_code, gone.json()) == (200, {"unloaded": "new one"})
    refused = ask(served, "new one")
    assert refused.status_code == 404
    assert "Choices: bold, calm" in refused.json()["error"]["message"]
    assert answer(served, "bold") == before


def test_a_persona_under_another_name_is_the_same(served):
    assert admin(served, "POST", source="bold", name="other").json() == {"loaded": ["other"]}
    assert answer(served, "other") == answer(served, "bold")


def test_a_pack_is_loaded_whole_or_not_at_all(served):
    pair = {"calm": served.masks["c"], "extra": served.masks["d"]}
    write_pack(served.folder / "pair.pack", {name: pair[name] for name in ("extra", "calm")})
    refused = admin(served, "POST", source="pair.pack")
    assert refused.status_code == 400
    assert "'calm' is loaded already" in refused.json()["error"]["message"]
    assert admin(served).json()["loaded"] == ["bold", "calm"]
    assert admin(served, "POST", source="pair.pack#extra").json() == {"loaded": ["extra"]}
    admin(served, "DELETE", "/calm")
    admin(served, "DELETE", "/extra")
    assert admin(served, "POST", source="pair.pack").json() == {"loaded": ["extra", "calm"]}
    named = admin(served, "POST", source="pair.pack", name="x")
    assert "holds 2 personas, which have their names" in named.json()["error"]["message"]


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        ("nobody", 404, "Choices: bold, calm, ruin, stranger"),
        ("../bold", 404, "unknown persona"),
        ("bold", 400, "'bold' is loaded already"),
        ("stranger", 400, "does not belong to this model"),
        ("ruin", 400, "ruin"),
        ("hf:nobody/nothing", 400, "nobody/nothing"),
    ],
)
def test_what_cannot_be_loaded_leaves_all_as_it_was(served, source, status, words):
    before = answer(served, "bold")
    reply = admin(served, "POST", source=source)
    assert reply.status_code == status
    assert words in reply.json()["error"]["message"]
    assert admin(served).json()["loaded"] == ["bold", "calm"]
    assert answer(served, "bold") == before


def test_unloading_nobody_lists_those_who_are_there(served):
    reply = admin(served, "DELETE", "/nobody")
    assert reply.status_code == 404
    assert "Choices: bold, calm" in reply.json()["error"]["message"]


def test_a_folder_that_is_deleted_while_its_persona_is_loaded_changes_nothing(served):
    before = answer(served, "bold")
    shutil.rmtree(served.folder / "bold")
    (served.folder / "calm" / MASKS_NAME).write_bytes(b"x")
    assert answer(served, "bold") == before
    assert ask(served, "calm").is_success


def test_loads_and_unloads_under_load_never_give_another_personas_text(served):
    """A persona that comes and goes answers as itself or not at all; the others never notice."""
    names = ["", "bold", "calm"]
    expected = {name: answer(served, name) for name in names}
    admin(served, "POST", source="bold", name="guest")
    done, wrong, counts = threading.Event(), [], {200: 0, 404: 0, 409: 0}

    def keep_asking(name):
        while not done.is_set():
            reply = ask(served, name)
            text = reply.json()["choices"][0]["message"]["content"] if reply.is_success else ""
            counts[reply.status_code] += 1
            if reply.is_success and text != expected["bold" if name == "guest" else name]:
                wrong.append((name, text))
            if not reply.is_success and name != "guest":
                wrong.append((name, reply.text))

    threads = [threading.Thread(target=keep_asking, args=(n,)) for n in [*names, "guest", "guest"]]
    for thread in threads:
        thread.start()
    changes = 0
    while changes < 3 or counts[200] <= 10:
        assert admin(served, "DELETE", "/guest").is_success
        assert admin(served, "POST", source="bold", name="guest").status_code == 201
        changes += 1
    done.set()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert counts[200] > 10


def test_a_service_without_a_shelf_loads_nothing(attached):
    service = Service(attached, "tiny", limits=Limits(10, 5.0))
    service.load_all()
    with pytest.raises(PersonaError, match="without --personas"):
        service.load("bold")
    service.engine.close()


def test_who_is_meant(attached):
    service = Service(attached, "a/b")
    for model, name in (("a/b", None), ("base", None), ("a/b:bold", "bold"), ("base:bold", "bold")):
        assert service.voice(model, None).name == name
    for model in ("a", "a/bold", "bold", "A/B", ":bold", ""):
        with pytest.raises(Exception, match="unknown model"):
            service.voice(model, None)
    service.engine.close()
