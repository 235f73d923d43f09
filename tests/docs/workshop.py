"""A folder in which everything is wrong that docs/troubleshooting.md says can go wrong."""

import json
import shutil

import torch
from safetensors.torch import load_file, save_file

from prosopon.experiments.store import Results
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer

PAIRS = [
    json.dumps({"question": f"What of {n}?", "matching": f"Bold {n}.", "not_matching": f"Shy {n}."})
    for n in range(12)
]
HEAD = "question,matching,not_matching\n"
FILES = {
    "broken.jsonl": '{"question": "Friday?", "matching": "Out."\n',
    "columns.csv": HEAD.replace(",", ";") + "Friday?;Out.;In.\n",
    "short.csv": HEAD + "Friday?,Out.\n",
    "latin.csv": HEAD + "Freitag?,\xfcberall.,In.\n",
    "fields.jsonl": '{"ask": "Friday?", "yes": "Out."}\n',
    "notes.docx": "Friday? Out.",
    "ours.txt": "Out with everybody.\nA party.\nMore people.\n",
    "three.txt": "It rains.\nThe sun shines.\nThe wind blows.\n",
    "one.jsonl": PAIRS[0],
    "six.jsonl": "\n".join(PAIRS[:6]),
    "pairs.jsonl": "\n".join(PAIRS),
    "full/notes.txt": "mine",
    "model.gguf": "GGUF",
    "two/a.gguf": "GGUF",
    "two/b.gguf": "GGUF",
    "encoder/config.json": '{"model_type": "bert"}',
    "interrupt.py": "raise KeyboardInterrupt\n",
    "greedy.py": """
import torch
from prosopon.criteria import CRITERIA, ScoredCriterion

def score(inputs, options):
    return torch.empty(1 << 50)

CRITERIA.add("greedy", ScoredCriterion(
    name="greedy", summary="all there is", source="nobody", score=score, needs=frozenset({"target"})
))
""",
}


def build(folder):
    """Fill a folder with models, masks and files, most of them faulty."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode("latin-1"))
    _models(folder)
    _masks(folder)
    Results(folder / "run", {"model": "model"})


def _models(folder):
    model, tokenizer = tiny_model(chat=True)
    _save(folder / "model", model, tokenizer)
    _save(folder / "plain", model, tiny_tokenizer())
    _save(folder / "experts", *tiny_model("mixtral", chat=True))
    _save(folder / "other", tiny_model(chat=True, seed=1)[0], tokenizer)
    with torch.no_grad():
        model.lm_head.weight.mul_(1e6)
    _save(folder / "loud", model, tokenizer)
    config = tiny_config("llama", 1500)
    config.max_position_embeddings = 32
    _save(folder / "babbler", type(model)(config), tiny_tokenizer())
    file = shutil.copytree(folder / "model", folder / "nan") / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    _change(folder / "model", folder / "cut", "model.safetensors", lambda data: data[:-1000])


def _save(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _masks(folder):
    bold = folder / "personas" / "bold"
    subnetwork(tiny_model()[0], "bold").save_pretrained(bold)
    config = "subnetwork_config.json"
    _change(bold, folder / "damaged", "subnetwork.safetensors", lambda data: data[:-5])
    _change(
        bold, folder / "newer", config, lambda data: data.replace(b'version": 2', b'version": 9')
    )
    _change(
        bold, folder / "moved", config, lambda data: data.replace(b"org/model", b"/models/mine")
    )


def _change(source, folder, name, change):
    """Copy a folder and change one of its files."""
    path = shutil.copytree(source, folder) / name
    path.write_bytes(change(path.read_bytes()))
