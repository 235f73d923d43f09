"""What goes wrong around a live server: a clear status, and afterwards all stands as before."""

from __future__ import annotations

import shutil
import socket
import threading
from itertools import pairwise
from urllib.parse import urlsplit

import pytest

from prosopon.models import fingerprint
from prosopon.serving.access import Keys
from prosopon.serving.shelf import Shelf
from prosopon.subnetwork.storage import MASKS_NAME
from tests.runtime import samples as weights
from tests.serving import samples
from tests.serving.samples import HTTP
from tests.serving.test_gate import until

ADMIN = {"Authorization": "Bearer admin"}
GO_ON = {"prompt": "Yes, the people", "seed": 4, "max_tokens": 8}


def ask(live, name="", **settings):
    body = GO_ON | settings | {"model": f"tiny:{name}" if name else "tiny"}
    return HTTP.post(f"{live.url}/v1/completions", json=body)


def answers(live):
    return [ask(live, name).json()["choices"][0]["text"] for name in ("", "bold", "calm")]


def admin(live, method, path="", **body):
    url = f"{live.url}/admin/personas{path}"
    return HTTP.request(method, url, headers=ADMIN, json=body or None)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    attached = samples.wearer(personas=())
    folder = tmp_path_factory.mktemp("shelf")
    for seed, name in enumerate(("bold", "calm")):
        samples.mask(attached.model, name, seed).save_pretrained(folder / name)
    base, before = weights.weights(attached.model), fingerprint(attached.sites)
    with samples.running(attached, shelf=Shelf(folder), keys=Keys(admins=["admin"])) as live:
        live.folder, live.answers = folder, answers(live)
        yield live
    weights.assert_bits(attached.model, base)
    assert fingerprint(attached.sites) == before


@pytest.fixture(autouse=True)
def stands(served, tmp_path):
    """Afterwards the server takes requests, and base and personas answer as before."""
    shutil.copytree(served.folder, tmp_path / "whole")
    yield
    shutil.rmtree(served.folder)
    shutil.copytree(tmp_path / "whole", served.folder)
    until(lambda: served.service.engine.running == served.service.engine.waiting == 0)
    assert HTTP.get(f"{served.url}/ready").json() == {"ready": True}
    assert answers(served) == served.answers


def line(live):
    place = urlsplit(live.url)
    return socket.create_connection((place.hostname, place.port), 20)


def test_fifty_megabytes_that_are_really_sent(served):
    reply = HTTP.post(
        f"{served.url}/v1/completions", content=b"x" * 50_000_000,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("sent", [b"", b"{", b'{"model": "tiny"'])
def test_a_client_that_hangs_up_in_the_middle_of_its_body(served, sent):
    with line(served) as open_line:
        open_line.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n" + sent
        )


def test_what_is_no_http_at_all(served):
    with line(served) as open_line:
        open_line.sendall(b"\x16\x03\x01\x00 hello\r\n\r\n")
        assert open_line.recv(4096).startswith(b"HTTP/1.1 400")


def test_a_client_that_leaves_in_the_middle_of_a_stream(served):
    body = GO_ON | {"model": "tiny:calm", "stream": True, "max_tokens": 400, "temperature": 2}
    with HTTP.stream("POST", f"{served.url}/v1/completions", json=body | {"n": 4}) as reply:
        assert next(reply.iter_lines()).startswith("data: {")


def test_a_folder_that_goes_while_its_persona_answers(served):
    whole = ask(served, "bold", max_tokens=100).json()["choices"]
    replies = []
    asking = threading.Thread(
        target=lambda: replies.append(ask(served, "bold", max_tokens=100).json()["choices"])
    )
    asking.start()
    shutil.rmtree(served.folder / "bold")
    (served.folder / "calm" / MASKS_NAME).write_bytes(b"ruin")
    asking.join(30)
    assert replies == [whole]
    assert answers(served) == served.answers


def test_a_persona_whose_folder_is_gone_or_damaged_does_not_come_back_and_says_why(served):
    for name in ("bold", "calm"):
        assert admin(served, "DELETE", f"/{name}").status_code == 200
    shutil.move(served.folder / "bold", served.folder.parent / "bold")
    masks = served.folder / "calm" / MASKS_NAME
    content = masks.read_bytes()
    masks.write_bytes(content[:-5])
    gone = admin(served, "POST", source="bold")
    assert gone.status_code == 404
    assert "unknown persona 'bold'. Choices: calm" in gone.json()["error"]["message"]
    damaged = admin(served, "POST", source="calm")
    assert damaged.status_code == 400
    assert MASKS_NAME in damaged.json()["error"]["message"]
    assert ask(served, "calm").status_code == 404
    assert ask(served).json()["choices"][0]["text"] == served.answers[0]
    shutil.move(served.folder.parent / "bold", served.folder / "bold")
    masks.write_bytes(content)
    for name in ("bold", "calm"):
        assert admin(served, "POST", source=name).status_code == 201


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_longer_than_the_context_is_a_400_in_a_stream_too(served, stream):
    reply = ask(served, "bold", prompt="x" * 600, stream=stream)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert "context of 512" in reply.json()["error"]["message"]


@pytest.mark.parametrize("name", ["", "bold"])
def test_a_stop_string_of_the_end_of_one_token_and_the_beginning_of_the_next(served, name):
    settings = {"max_tokens": 40, "temperature": 0.5}
    for seed in range(20):
        (whole,) = ask(served, name, seed=seed, logprobs=0, **settings).json()["choices"]
        pairs = pairwise(whole["logprobs"]["tokens"])
        stops = [stop for one, other in pairs if (stop := one[-1:] + other[:1]).isalnum()]
        if stops := [stop for stop in stops if len(stop) == 2 and stop.isascii()]:
            break
    (cut,) = ask(served, name, seed=seed, stop=stops[-1], **settings).json()["choices"]
    assert cut["text"] == whole["text"][: whole["text"].index(stops[-1])]
    assert cut["finish_reason"] == "stop"
