"""Two replicas on a local Ray, deployed from deploy/ray/serve.yaml; ``make ray`` runs it."""

from __future__ import annotations

import collections
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="make ray runs it")

import httpx2
import openai
import yaml

from prosopon import load_model
from prosopon.models import fingerprint
from prosopon.runtime import PersonaModel
from tests.runtime.samples import subnetwork
from tests.serving import samples

CONFIG = Path(__file__).parents[2] / "deploy/ray/serve.yaml"
BIN = Path(sys.executable).parent
ADMIN = {"Authorization": "Bearer admin"}
VOICES = ("base", "base:bold", "base:calm")
SEEDS = range(4)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def body(voice, seed, **settings):
    turn = {"role": "user", "content": "What do you do on a free evening?"}
    return {"model": voice, "messages": [turn], "seed": seed, "max_tokens": 12} | settings


class Cluster:
    """A local Ray with the application on it."""

    def __init__(self, folder):
        self.folder, self.personas = folder, folder / "personas"
        self.port, self.dashboard = free_port(), f"http://127.0.0.1:{(board := free_port())}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = yaml.safe_load(CONFIG.read_text("utf-8"))
        self.config["http_options"]["port"] = self.port
        self.application = self.config["applications"][0]
        self.application["args"]["personas"] = str(self.personas)
        self.application["runtime_env"] = {"env_vars": {"PROSOPON_ADMIN_KEY": "admin"}}
        (self.deployment,) = self.application["deployments"]
        self.deployment["autoscaling_config"]["max_replicas"] = 2
        words = {
            "port": free_port(), "num-cpus": 2, "object-store-memory": 200_000_000,
            "include-dashboard": "true", "dashboard-port": board, "node-ip-address": "127.0.0.1",
            "temp-dir": folder / "r", "dashboard-agent-listen-port": free_port(),
            "ray-client-server-port": free_port(),
        }  # fmt: skip
        command = [BIN / "ray", "start", "--head", "--block", "--disable-usage-stats"]
        command += [f"--{name}={value}" for name, value in words.items()]
        with (folder / "ray.log").open("w") as log:
            self.ray = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)

    def serve(self, *words):
        command = [BIN / "serve", *words, "-a", self.dashboard]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def deploy(self, personas):
        self.deployment["user_config"] = {"personas": personas}
        file = self.folder / "serve.yaml"
        file.write_text(yaml.safe_dump(self.config))
        deadline = time.monotonic() + 300  # the dashboard may still start
        while (done := self.serve("deploy", str(file))).returncode:
            log = (self.folder / "ray.log").read_text()
            assert time.monotonic() < deadline, f"{done.stdout}\n{done.stderr}\n{log}"
            assert self.ray.poll() is None, log

    def state(self):
        """Return the application's state, and what its deployment has to say."""
        whole = yaml.safe_load(self.serve("status").stdout) or {}
        application = whole.get("applications", {}).get("prosopon", {})
        deployment = application.get("deployments", {}).get("Replica", {})
        replicas = deployment.get("replica_states", {})
        return application.get("status"), replicas, deployment.get("message", "")

    def replicas(self):
        """Return what all replicas say of themselves; nothing where one has just died."""
        reply = httpx2.get(f"{self.url}/admin/replicas", headers=ADMIN, timeout=60)
        if reply.status_code == 503:
            assert reply.json()["error"]["code"] == "replica_died"
            return []
        assert reply.status_code == 200, reply.text
        return reply.json()

    def settled(self, names):
        """Tell whether two replicas run, both with these personas."""
        if self.state()[:2] != ("RUNNING", {"RUNNING": 2}):
            return False
        return [held["personas"] for held in self.replicas()] == [sorted(names)] * 2

    def ask(self, voice, seed, **settings):
        return httpx2.post(
            f"{self.url}/v1/chat/completions", json=body(voice, seed, **settings), timeout=60
        )


def until(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)


def processes(cluster):
    return {held["process"] for held in cluster.replicas()}


def text(reply):
    return reply.json()["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("r")
    model, _ = load_model("embedded")[:2]
    for seed, name in enumerate(("bold", "calm")):
        mask = subnetwork(model, name, seed=seed, share=0.5, ranked=True)
        mask.save_pretrained(folder / "personas" / name)
    local = Cluster(folder)
    try:
        local.deploy(None)
        until(lambda: local.settled(["bold", "calm"]))
        yield local
    finally:
        local.ray.terminate()
        local.ray.wait(60)


@pytest.fixture(scope="module")
def alone(cluster):
    """Return what every voice says alone, on a server of one process."""
    model, tokenizer = load_model("embedded")[:2]
    wearer = PersonaModel(model, tokenizer)
    for name in ("bold", "calm"):
        wearer.load_persona(cluster.personas / name, name)
    with samples.running(wearer) as live:
        url = f"{live.url}/v1/chat/completions"
        return {
            (voice, seed): text(samples.HTTP.post(url, json=body(voice, seed)))
            for voice in VOICES
            for seed in SEEDS
        }


def test_both_replicas_hold_the_same(cluster):
    one, two = cluster.replicas()
    assert one["process"] != two["process"]
    for part in ("personas", "digests", "fingerprint", "intact"):
        assert one[part] == two[part]
    assert one["intact"]
    model, tokenizer = load_model("embedded")[:2]
    assert one["fingerprint"] == fingerprint(PersonaModel(model, tokenizer).sites).weights


def test_every_reply_is_what_one_process_says(cluster, alone):
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key="none", max_retries=0) as client:
        for (voice, seed), said in alone.items():
            assert text(cluster.ask(voice, seed)) == said
            pieces = client.chat.completions.create(**body(voice, seed), stream=True)
            assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == said
    assert all(len({alone[voice, seed] for voice in VOICES}) == 3 for seed in SEEDS)


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "word"),
    [
        ("POST", "/admin/personas", {"json": {"source": "bold"}}, 409, "one alone must not change"),
        ("DELETE", "/admin/personas/bold", {}, 409, "write the personas into user_config"),
        ("POST", "/v1/chat/completions", {"json": body("base:nobody", 1)}, 404, "Choices: bold"),
        ("POST", "/v1/chat/completions", {"content": b"{" * 50_000_000}, 413, "larger than"),
        ("POST", "/v1/chat/completions", {"content": b"{"}, 400, "JSON decode error"),
        ("GET", "/nothing", {}, 404, "Not Found"),
    ],
)
def test_what_is_refused_says_why(cluster, method, path, more, status, word):
    headers = ADMIN | {"Content-Type": "application/json"}
    reply = httpx2.request(method, cluster.url + path, headers=headers, timeout=60, **more)
    assert reply.status_code == status
    assert word in reply.json()["error"]["message"]


def test_the_list_of_personas_reaches_all_replicas(cluster):
    before = processes(cluster)
    cluster.deploy(["bold"])
    until(lambda: cluster.settled(["bold"]))
    assert [cluster.ask("base:calm", 1).status_code for _ in range(8)] == [404] * 8
    cluster.deploy(["bold", "calm"])
    until(lambda: cluster.settled(["bold", "calm"]))
    assert processes(cluster) == before  # nobody was started anew


def test_a_replica_that_is_killed_under_load_comes_back(cluster, alone):
    before = cluster.replicas()
    statuses, wrong, stop = collections.Counter(), [], threading.Event()

    def load(number):
        keys = list(alone)
        while not stop.is_set():
            number += 1
            reply = cluster.ask(*keys[number % len(keys)])
            statuses[reply.status_code] += 1
            if reply.status_code == 200 and text(reply) != alone[keys[number % len(keys)]]:
                wrong.append(reply.text)

    threads = [threading.Thread(target=load, args=(3 * number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: statuses[200] > 20)
    killed = before[0]["process"]
    os.kill(killed, signal.SIGKILL)
    begin = time.monotonic()
    until(lambda: cluster.settled(["bold", "calm"]) and killed not in processes(cluster))
    back = time.monotonic() - begin
    time.sleep(5)
    stop.set()
    for thread in threads:
        thread.join(60)
    after = cluster.replicas()
    print(json.dumps({"statuses": statuses, "seconds until two replicas run": back}))  # noqa: T201
    assert not wrong
    assert set(statuses) <= {200, 500}
    assert statuses[500] <= len(threads)  # what the replica was writing when it died
    assert before[1]["process"] in {held["process"] for held in after}
    assert [held["intact"] for held in after] == [True, True]
    assert {held["fingerprint"] for held in after} == {before[0]["fingerprint"]}
    assert all(held["digests"] == before[0]["digests"] for held in after)


def test_a_name_that_nobody_knows_leaves_the_others_at_work(cluster, alone):
    cluster.deploy(["bold", "nobody"])
    until(lambda: "unknown persona 'nobody'" in cluster.state()[2])
    assert text(cluster.ask("base:bold", 1)) == alone["base:bold", 1]
    cluster.deploy(["bold", "calm"])
    until(lambda: cluster.settled(["bold", "calm"]))
    assert text(cluster.ask("base:calm", 1)) == alone["base:calm", 1]
