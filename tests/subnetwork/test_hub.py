"""The Hub: a real exchange over HTTP with a small server that plays its part."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import sys
import threading
import traceback
import warnings
from contextlib import redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import CONFIG_NAME, MASKS_NAME, Subnetwork, model_card
from tests.processes import forked, listen
from tests.subnetwork.samples import config, subnetwork


class Hub(BaseHTTPRequestHandler):
    """The requests that huggingface_hub makes to create, commit to and read one repository."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.tokens.add(self.headers.get("Authorization"))
        if self.path == "/api/repos/create":
            given = json.loads(body)
            name = "/".join(filter(None, (given.get("organization"), given["name"])))
            self.server.repository = {
                "name": name,
                "private": given.get("visibility") == "private" or given.get("private"),
            }
            self.server.made.append(self.server.repository)
            self.answer({"url": f"{self.server.url}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": path, "uploadMode": "regular"} for path in files]
            self.answer({"files": [mode | {"shouldIgnore": False} for mode in modes]})
        elif "/commit/" in self.path:
            for line in body.decode().splitlines():
                item = json.loads(line)
                if item["key"] == "file":
                    content = base64.b64decode(item["value"]["content"])
                    self.server.files[item["value"]["path"]] = content
                else:
                    self.server.summaries.append(item["value"]["summary"])
            sha = self.sha()
            url = f"{self.server.url}/{self.server.repository['name']}/commit/{sha}"
            self.answer({"commitUrl": url, "commitOid": sha, "success": True})
        else:
            self.answer({"error": self.path}, status=404)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = self.server.repository["name"]
        if f"/{name}/resolve/" in self.path:
            content = self.server.files.get(self.path.rpartition("/")[2])
            if content is not None:
                self.answer(content, ETag=f'"{hashlib.sha1(content).hexdigest()}"')
                return
        elif self.path.startswith(f"/api/models/{name}"):
            siblings = [{"rfilename": path} for path in self.server.files]
            if "/tree/" in self.path:
                rows = [(path, len(content)) for path, content in self.server.files.items()]
                self.answer(
                    [
                        {"type": "file", "path": path, "size": size, "oid": "0" * 40}
                        for path, size in rows
                    ]
                )
            else:
                self.answer({"id": name, "sha": self.sha(), "siblings": siblings})
            return
        self.answer(
            {"error": "Repository not found"}, status=404, **{"X-Error-Code": "RepoNotFound"}
        )

    def sha(self):
        return hashlib.sha1(b"".join(self.server.files.values())).hexdigest()

    def answer(self, value, status=200, **headers):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        headers |= {"Content-Length": str(len(content)), "X-Repo-Commit": self.sha()}
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.files, server.tokens, server.repository = {}, set(), {"name": "nobody/nothing"}
    server.made, server.summaries = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run_afresh(channel, environment, code):
    """Run Python code with a huggingface_hub that reads its address now; say what it prints."""
    os.environ.update(environment)
    warnings.resetwarnings()
    for name in list(sys.modules):
        if name.partition(".")[0] in ("huggingface_hub", "prosopon", "tests"):
            del sys.modules[name]
    with redirect_stdout(io.StringIO()) as printed:
        try:
            exec(code, {})
        except BaseException:
            printed.write(traceback.format_exc())
    channel.send(printed.getvalue())


def run(hub_url, home, code):
    environment = {
        "HF_ENDPOINT": hub_url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    with forked(run_afresh, environment, code) as (_, channel):
        return listen(channel, 240)


CODE = """
import torch
from prosopon.errors import SubnetworkError
from prosopon.subnetwork import Compensation, Subnetwork
from tests.subnetwork.samples import subnetwork

made = subnetwork(ranked=True)
print(made.push_to_hub("someone/quiet", private=True, token="hf_secret", message="First"))
assert Subnetwork.from_pretrained("someone/quiet") == made
assert Subnetwork.from_pretrained("someone/quiet", revision="main").config.checksum
ones = {name: torch.ones(mask.shape) for name, mask in made.keep.items()}
made.compensation = Compensation.of(made.keep, ones)
made.config = made.config.model_copy(update={"base_model": "/home/somebody/models/big"})
made.push_to_hub("someone/quiet", token="hf_secret")
assert made.base_model == "/home/somebody/models/big"
assert Subnetwork.from_pretrained("someone/quiet").base_model == "big"
assert Subnetwork.from_pretrained("someone/quiet").compensation.values.keys() == made.keep.keys()
try:
    Subnetwork.from_pretrained("someone/loud")
except SubnetworkError as error:
    print(error)
"""


def test_what_is_pushed_comes_back(hub, tmp_path):
    printed = run(hub.url, tmp_path, CODE).splitlines()
    assert len(printed) == 2, printed
    url, error = printed
    assert re.fullmatch(rf"{hub.url}/someone/quiet/commit/[0-9a-f]{{40}}", url)
    assert error.startswith("someone/loud: no such folder, and from the Hugging Face Hub it cannot")
    assert set(hub.files) == {CONFIG_NAME, MASKS_NAME, "README.md", "compensation.safetensors"}
    assert [made["private"] for made in hub.made] == [True, None]
    assert [made["name"] for made in hub.made] == ["someone/quiet"] * 2
    assert hub.tokens == {"Bearer hf_secret"}
    assert hub.summaries == ["First", "Upload the persona introvert"]
    for name in (CONFIG_NAME, MASKS_NAME):
        (tmp_path / name).write_bytes(hub.files[name])
    made = subnetwork(ranked=True, base_model="big")  # no path of this machine
    assert Subnetwork.from_pretrained(tmp_path) == made
    made.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / CONFIG_NAME).read_bytes() == hub.files[CONFIG_NAME]
    assert hub.files["README.md"].decode() == model_card(made.config, "someone/quiet")


def test_a_hub_that_is_not_there(tmp_path):
    """In this process the library is offline."""
    with pytest.raises(SubnetworkError, match="org/name: cannot be uploaded to the Hugging Face"):
        subnetwork().push_to_hub("org/name", token="hf_secret")
    with pytest.raises(SubnetworkError, match="org/name: no such folder, and from the Hugging"):
        Subnetwork.from_pretrained("org/name")
    for path in (Path("org/name"), "org", "./org/name", "a/b/c", str(tmp_path / "org/name")):
        with pytest.raises(SubnetworkError, match=r"no such folder$"):
            Subnetwork.from_pretrained(path)


def test_a_folder_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subnetwork().save_pretrained("org/name")
    assert Subnetwork.from_pretrained("org/name") == subnetwork()


def test_the_card():
    import yaml

    made = subnetwork(ranked=True)
    card = model_card(made.config, "someone/quiet")
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "prosopon",
        "tags": ["prosopon", "persona", "subnetwork", "pruning", "contrastive-wanda"],
        "base_model": "org/model",
        "base_model_relation": "adapter",
        "license": "apache-2.0",
    }
    for said in (
        "# introvert", "Opposite: extravert.", "variant=paper, tau=2.0",
        f"{made.pruned} of 46 in 2 sites",
        "any from 0 to 1", "12 examples of the persona, 11 of the opposite", "c" * 64, "d" * 64,
        "load_model('org/model', revision='0123abc')", "load_persona('someone/quiet')",
        "## Limits", "2026-01-02T03:04:05+00:00",
    ):  # fmt: skip
        assert said in text


@pytest.mark.parametrize("licence", ["as the base model's weights", "", "MIT"])
def test_the_header_of_the_card_holds_whatever_the_provenance_says(licence):
    import yaml

    odd = config(
        persona="a: |\n# <b>", base_model="/a folder/:x", criterion="!\n- é", license=licence
    )
    header = yaml.safe_load(model_card(odd, "x").split("---\n", 2)[1])
    assert header["tags"][-1] == "unnamed"
    assert "base_model" not in header
    named = {"as the base model's weights": "other", "": None, "MIT": "mit"}[licence]
    assert header.get("license") == named
    assert "# a: \\| # &lt;b>\n" in model_card(odd, "x")


def test_the_code_of_the_card_runs():
    code = model_card(config(base_model="embedded", revision=None), "x")
    (block,) = re.findall(r"```python\n(.*?)```", code, re.DOTALL)
    compile(block, "card", "exec")
