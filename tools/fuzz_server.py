"""Ask the server what its OpenAPI description allows and forbids, as schemathesis makes it up.

make fuzz-server [ARGS="--examples 200 --seed 3"]

The embedded model with two personas listens on a port of this machine, with keys. Any 5xx, any
status or kind of body that the description does not state, and whatever else schemathesis checks
is a failure (exit code 1). Afterwards the server must be ready, a persona and the base must answer
as before, and the weights must be the base's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2

from prosopon import PersonaModel, extract, load_model
from prosopon.models import fingerprint
from prosopon.serving.access import Keys
from prosopon.serving.server import Address, Server
from prosopon.serving.service import Limits, Service
from prosopon.serving.shelf import Shelf

KEY = {"Authorization": "Bearer fuzz"}
NAMES = ("introvert", "bold")
CHAT = {"messages": [{"role": "user", "content": "What do you do today?"}], "seed": 1}


def start(folder: Path) -> tuple[Service, Callable[[], None], str]:
    """Serve a light persona and a heavy one; return the service, what stops it, its address."""
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    for name, criterion in zip(NAMES, ("contrastive-taylor", "contrastive-wanda"), strict=True):
        mask = extract(model, tokenizer, target=name, limit=16, criterion=criterion)
        mask.save_pretrained(folder / name)
    service = Service(PersonaModel(model, tokenizer), "embedded", Shelf(folder), Limits(8, 60.0))
    service.load_all()
    opened, urls = threading.Event(), list[str]()

    def listening(url: str) -> None:
        urls.append(url)
        opened.set()

    server = Server(service, Address(port=0, grace=5.0), Keys(["user"], ["fuzz"]), listening)
    thread = threading.Thread(target=server.run)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join()

    opened.wait(60)
    return service, stop, urls[0]


def answers(url: str) -> list[str]:
    """Return what the base and the personas say."""
    texts = []
    for name in ("base", *(f"base:{name}" for name in NAMES)):
        body = CHAT | {"model": name}
        reply = httpx2.post(f"{url}/v1/chat/completions", json=body, headers=KEY, timeout=60)
        texts.append(reply.json()["choices"][0]["message"]["content"])
    return texts


def main() -> int:
    """Fuzz, and say whether all stands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--schemathesis", required=True, type=Path, help="the command's file")
    parser.add_argument("--examples", type=int, default=100, help="requests a route and phase")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service, stop, url = start(Path(folder))
        weights = service.fingerprint
        try:
            before = answers(url)
            command = [
                options.schemathesis.absolute(), "run", f"{url}/openapi.json", "--header",
                f"Authorization:{KEY['Authorization']}", "--max-examples", str(options.examples),
                "--seed", str(options.seed), "--continue-on-failure", "--request-timeout", "60",
                # A body can fit the schema and ask for what cannot be done, such as a longer
                # answer than the context holds: that is a 400.
                "--exclude-checks", "positive_data_acceptance",
            ]  # fmt: skip
            hooks = {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "FUZZ_NAMES": ",".join(NAMES)}
            path = {"PYTHONPATH": str(Path(__file__).parent)}
            code = subprocess.run(command, env=os.environ | hooks | path, cwd=folder).returncode
            ready = httpx2.get(f"{url}/ready").status_code == 200
            for name in NAMES:  # routes that unload were asked too
                if name not in service.personas:
                    service.load(name)
            same = answers(url) == before
        finally:
            stop()
    whole = fingerprint(service.engine.wearer.sites).weights == weights
    for holds, what in (
        (code == 0, "schemathesis finds nothing"), (ready, "the server is ready afterwards"),
        (same, "base and personas answer as before"), (whole, "the weights are the base's"),
    ):  # fmt: skip
        print(f"{'holds' if holds else 'FAILS'}: {what}")
    return 0 if code == 0 and ready and same and whole else 1


if __name__ == "__main__":
    sys.exit(main())
