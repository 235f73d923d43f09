"""``prosopon search`` and ``pull``, over HTTP with a small server that plays the Hub."""

import json
from dataclasses import asdict

import pytest
import torch

from prosopon.models import find_sites, fingerprint, load_model
from prosopon.subnetwork import (
    CONFIG_NAME,
    MASKS_NAME,
    Subnetwork,
    model_card,
    read_evaluation,
    write_evaluation,
)
from tests.hub import run, serve
from tests.subnetwork.samples import config, evaluation, subnetwork


@pytest.fixture
def hub():
    with serve() as server:
        yield server


def mask_of_the_embedded_model():
    site = find_sites(load_model("embedded", device="cpu").model)[0]
    keep = torch.ones(site.shape, dtype=torch.bool)
    keep[0, :5] = False
    marks = asdict(fingerprint([site]))
    return Subnetwork(
        keep={site.name: keep},
        config=config(
            base_model="embedded",
            revision=None,
            fingerprint=marks,
        ),
    )


# The mask is made before the fork, so that the copy has all that a model needs.
PULL = """
import json
import os
import re
from pathlib import Path

from prosopon.subnetwork import Subnetwork
from tests.commands import run_command

os.chdir(HOME)
print(Subnetwork.from_pretrained("made").push_to_hub("someone/fits", token="hf_secret"))

def run(*words):
    done = run_command(*words, cwd=Path.cwd())
    return done.returncode, done.stdout, done.stderr

results = [run(*words.split()) for words in WORDS]
(_, block, *_) = re.split("```(?:python)?", Path("personas/fits/README.md").read_text())
shown = []
exec(block, {"print": shown.append})
print(json.dumps([results, shown]))
"""

WORDS = {
    "pull someone/fits --json": '"persona": "introvert"',
    "pull hf:someone/fits": "fits: is not empty; give --force",
    "pull someone/fits --force --model embedded": "its mask belongs to embedded",
    "pull someone/quiet -o odd --model embedded": "does not belong to this model",
    "pull someone/quiet -o quiet": "prosopon chat --persona quiet",
    "pull someone/nothing": "no such repository, or it is private",
    "pull someone/gated": "without the owner's leave",
    "pull someone/weights": "someone/weights: holds no persona: there is no subnetwork_config.json",
    "pull someone/broken": "its checksum is not the one in subnetwork_config.json",
    "pull someone/quiet -o new --revision nope": "it has no revision 'nope'",
    "search --json": '"someone/quiet"',
    "search qui": "someone/quiet",
    "search introvert --model org/model --json": '"base_model": "org/model"',
    "search Introvert": "someone/quiet",
    "search --model another/model": "no persona of another/model on the Hub",
    "search nobody": "no persona called 'nobody' on the Hub",
}


def test_personas_are_listed_and_fetched(hub, tmp_path):
    quiet = subnetwork(ranked=True)
    quiet.save_pretrained(tmp_path / "a")
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    files |= {"README.md": model_card(quiet.config, "someone/quiet").encode()}
    files |= {"evil.py": b"raise SystemExit", "model.safetensors": b"0" * 9}
    fits = mask_of_the_embedded_model()
    fits.save_pretrained(tmp_path / "made")
    write_evaluation(tmp_path / "made", evaluation(fits.config.checksum))
    hub.others = {
        "someone/quiet": files,
        "someone/weights": {"model.safetensors": b"0" * 9},
        "someone/gated": files,
        "someone/broken": files | {MASKS_NAME: b"0" * 99},
    }
    settings = f"HOME, WORDS = {str(tmp_path)!r}, {list(WORDS)!r}\n"
    printed = run(hub.url, tmp_path, settings + PULL)
    assert printed.count("\n") == 2, printed
    results, answer = json.loads(printed.splitlines()[1])
    for (words, wanted), (code, out, err) in zip(WORDS.items(), results, strict=True):
        assert wanted in out + err, (words, out, err)
        refused = err.startswith("error: ")
        assert (code, err.count("\n") == 1) == (2, True) if refused else code == 0, words
    assert answer
    assert all(isinstance(text, str) for text in answer)
    assert not {name.partition("/")[2].partition("/")[2] for name in hub.fetched} & {
        "evil.py", "model.safetensors",
    }  # fmt: skip
    for name in ("odd", "new", "personas/gated", "personas/weights", "personas/broken"):
        assert not (tmp_path / name).exists()
    for name in (CONFIG_NAME, MASKS_NAME, "README.md"):
        assert (tmp_path / "quiet" / name).read_bytes() == files[name]
    assert Subnetwork.from_pretrained(tmp_path / "quiet") == quiet
    card = (tmp_path / "personas/fits/README.md").read_text()
    assert "| choice | per-token | 0.850 [0.800, 1.000] | 0.900 [0.800, 1.000] |" in card
    assert read_evaluation(tmp_path / "personas/fits") == read_evaluation(tmp_path / "made")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("search", "the Hugging Face Hub cannot be reached: HF_HUB_OFFLINE is set"),
        ("pull org/name", "it was not fetched before: HF_HUB_OFFLINE is set"),
        ("pull name", "name: no id on the Hub; write it as name/persona"),
        ("pull org/name -o /proc/x", "cannot be written"),
    ],
)
def test_what_cannot_be_listed_or_fetched_is_one_line(prosopon, words, said):
    error = prosopon(*words.split(), code=2).stderr
    assert said in error
    assert error.count("\n") == 1
