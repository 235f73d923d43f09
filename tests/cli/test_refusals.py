"""What is wrong is said before a model is loaded, and where a result goes is tried first."""

import json
import subprocess
import sys

import pytest

from prosopon.cli.options import check_folder, check_writable
from prosopon.errors import OptionError
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model


@pytest.fixture
def unloaded(monkeypatch):
    """Fail a test that loads a model."""
    from prosopon import models

    def load(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(models, "load_model", load)


@pytest.fixture
def mask(tmp_path):
    subnetwork(tiny_model(chat=True)[0], "bold").save_pretrained(tmp_path / "mask")
    (tmp_path / "file").write_text("mine")
    return tmp_path / "mask"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("extract -t nobody", "no bundled persona is called so"),
        ("extract -t bold --protect nobody", "no bundled persona is called so"),
        ("extract -t bold -c wonda", "Did you mean 'wanda'"),
        ("extract -t bold --pattern rows -c wanda", "Did you mean 'row'"),
        ("extract -t bold --option colour=red", "no option 'colour'"),
        ("extract -t bold --option wanda.variant=paper", "'wanda' does not take part"),
        ("extract -t bold -o file", "is a file, not a folder"),
        ("extract -t bold -o file/below", "cannot be written"),
        ("extract -t bold -o /proc/below", "cannot be written"),
        ("extract -t bold -o mask", "--force"),
        ("export nobody -f lora -o out", "nobody: no such folder or pack"),
        ("export mask -f onnx -o out", "checkpoint, gguf, lora, shira, structured"),
        ("export mask -f lora -o out --option colour=red", "has no option 'colour'"),
        ("export mask -f lora -o file/below", "cannot be written"),
        ("explain mask nobody -o out", "nobody: no such folder or pack"),
        ("explain mask -o /proc/below", "cannot be written"),
        ("chat -p nobody", "nobody: no such folder or pack"),
        ("inspect nobody", "nobody: no such folder or pack"),
        ("pack mask nobody -o x.pack", "nobody: no such folder or pack"),
        ("pack mask -o /proc/x.pack", "cannot be written"),
        ("extract -t bold --plugin nowhere.py", "there is no such file"),
    ],
)
def test_before_a_model_is_loaded(prosopon, mask, unloaded, arguments, message):
    done = prosopon(*arguments.split(), code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert message in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", ["extract -t nobody", "extract -t bold -o file/below", "chat -p nobody"]
)
def test_a_wrong_name_costs_no_import(mask, tmp_path, arguments):
    code = (
        "import sys\nfrom prosopon.cli import main\n"
        f"sys.argv = ['prosopon', *{arguments.split()!r}]\n"
        "try: main()\nexcept SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "2 False\n", done.stderr


def test_places_for_results(tmp_path):
    check_writable(tmp_path / "new/below")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("mine")
    check_writable(tmp_path / "file")
    for path in (tmp_path / "file/below", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(OptionError, match="cannot be written"):
            check_writable(path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    check_folder(tmp_path / "full", force=True)
    with pytest.raises(OptionError, match="not empty"):
        check_folder(tmp_path / "full", force=False)


def test_names_that_are_not_utf8(prosopon):
    done = prosopon("extract", "-t", "\udcff.jsonl", code=2)
    assert "\\udcff.jsonl: this name is not UTF-8" in done.stderr


def test_a_model_reads_no_more_than_its_context(prosopon, tiny_folder):
    done = prosopon(
        "extract", "-m", tiny_folder, "-t", "bold", "-n", "2", "--max-length", "5000", code=2
    )
    assert "--max-length 5000: " in done.stderr
    assert "reads at most 512 tokens" in done.stderr


def test_extract_says_what_it_read(prosopon, tiny_folder, tmp_path):
    (tmp_path / "ours.txt").write_text("One text of words.\n\nAnother text.\n\nA third one.\n")
    common = ("extract", "-m", tiny_folder, "-c", "wanda", "-n", "2")
    done = prosopon(*common, "-t", "bold", "--opposite", "cautious", "-o", "a", "--json")
    assert "read 2 examples of bold and 2 examples of cautious" in done.stderr
    assert json.loads(done.stdout)["persona"] == "bold"
    done = prosopon(*common, "-t", "bold", "-o", "b", "--quiet")
    assert done.stderr == ""


def test_half_precision_that_overflows_is_one_line(prosopon, tmp_path):
    import torch

    model, tokenizer = tiny_model("llama", chat=True)
    with torch.no_grad():
        model.lm_head.weight.mul_(1e6)
    model.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    options = ("-m", "m", "--dtype", "float16", "-t", "bold", "-n", "20", "--option", "rounds=2")
    done = prosopon("extract", *options, "-o", "out", code=2)
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "overflow or are NaN" in done.stderr
    assert not (tmp_path / "out").exists()
