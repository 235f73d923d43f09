"""A small server that plays the Hugging Face Hub, and a process that talks to it."""

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
from contextlib import contextmanager, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import yaml

from tests.processes import forked, listen


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
        if self.path.startswith("/api/models?"):
            self.answer(list(self.listed(parse_qs(urlparse(self.path).query))))
            return
        own = {self.server.repository["name"]: self.server.files}
        found = [n for n in own | self.server.others if re.search(rf"/{n}(/|$)", self.path)]
        name = found[0] if found else "nobody/nothing"
        files = (own | self.server.others).get(name, {})
        if "/revision/nope" in self.path:
            self.answer({"error": "Invalid rev"}, 404, **{"X-Error-Code": "RevisionNotFound"})
            return
        if f"/{name}/resolve/" in self.path:
            file = self.path.rpartition("/")[2]
            self.server.fetched.append(f"{name}/{file}")
            content = files.get(file)
            if name == "someone/gated":
                self.answer({"error": "Ask"}, 403, **{"X-Error-Code": "GatedRepo"})
                return
            if content is not None:
                self.answer(content, ETag=f'"{hashlib.sha1(content).hexdigest()}"')
                return
        elif self.path.startswith(f"/api/models/{name}"):
            siblings = [{"rfilename": path} for path in files]
            if "/tree/" in self.path:
                rows = [(path, len(content)) for path, content in files.items()]
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

    def listed(self, query):
        """Yield the models that a query lists, as the Hub finds them: by name and by tags."""
        for name, files in self.server.others.items():
            if b"---" not in files.get("README.md", b""):
                continue
            header = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
            tags = [*header["tags"], header["library_name"]]
            if base := header.get("base_model"):
                tags += [f"base_model:{header['base_model_relation']}:{base}", f"base_model:{base}"]
            wanted, text = query.get("filter", []), query.get("search", [""])[0]
            if set(wanted) <= set(tags) and text in name:
                yield {
                    "id": name, "tags": tags, "downloads": len(name), "likes": 1,
                    "lastModified": "2026-01-02T03:04:05.000Z", "private": False,
                }  # fmt: skip

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


@contextmanager
def serve():
    """Serve one Hub, empty but for what a test puts into it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.files, server.tokens, server.repository = {}, set(), {"name": "nobody/nothing"}
    server.made, server.summaries, server.others, server.fetched = [], [], {}, []
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
        if name.partition(".")[0] == "huggingface_hub":
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
