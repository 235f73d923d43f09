"""What is wrong is said before a model is loaded, and where a result goes is tried first."""

import json
import subprocess
import sys

import pytest

from prosopon.cli.options import check_folder, check_writable
from prosopon.errors import OptionError
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model

REFUSALS = [
    ("extract -t nobody", "no bundled persona is called so"),
    ("extract -t bold --opposite nobody", "no bundled persona is called so"),
    ("extract -t bold --protect nobody", "no bundled persona is called so"),
    ("extract -t bold -c wonda", "Did you mean 'wanda'"),
    ("extract -t bold -s much", "give a number or 'auto'"),
    ("extract -t bold --scope words", "unknown scope 'words'"),
    ("extract -t bold --pattern rows -c wanda", "Did you mean 'row'"),
    ("extract -t bold --option colour=red", "no option 'colour'"),
    ("extract -t bold --option rounds=many", "rounds='many' is not a int"),
    ("extract -t bold --option wanda.variant=paper", "'wanda' does not take part"),
    ("extract -t bold --work-dir here", "--work-dir has no meaning"),
    ("extract -t bold --sequential --pattern global", "--sequential"),
    ("extract -t bold -o file", "is a file, not a folder"),
    ("extract -t bold -o file/below", "cannot be written"),
    ("extract -t bold -o /proc/below", "cannot be written"),
    ("extract -t bold -o mask", "--force"),
    ("extract -t bold --plugin nowhere.py", "there is no such file"),
    ("demo -p nobody", "unknown persona 'nobody'"),
    ("compare -p nobody -o out", "unknown persona 'nobody'"),
    ("compare -p bold -o out --arms nobody", "unknown arm 'nobody'"),
    ("compare -p bold -o out --tasks nothing", "unknown task 'nothing'"),
    ("compare -p bold -o out --explain nobody", "unknown arm 'nobody'"),
    ("compare -p bold -o out --option lora.colour=red", "no option 'colour'"),
    ("compare -p bold -o out --option nobody.rank=2", "unknown arm 'nobody'"),
    ("compare -p bold -o out --seeds one", "--seeds 'one': whole numbers"),
    ("compare -t nobody -m somewhere -o out", "no bundled persona is called so"),
    ("compare -p bold -o file", "file"),
    ("compare -p bold -o file/below", "cannot be written"),
    ("compare -p bold -o out --judge-url x", "--judge-url and --judge-model"),
    ("sweep -p nobody -o out", "unknown persona 'nobody'"),
    ("sweep -p bold -o out -c wonda", "Did you mean 'wanda'"),
    ("sweep -p bold -o out -s much", "much"),
    ("sweep -p bold -o out -c wanda --option wanda.colour=red", "no option 'colour'"),
    ("sweep -p bold -o out --option colour=red", "write it as criterion.key=value"),
    ("sweep -p bold -o /proc/below", "cannot be written"),
    ("evaluate nobody", "nobody: no such folder or pack"),
    ("evaluate bold --arm nobody", "unknown arm 'nobody'"),
    ("evaluate bold --task nothing", "unknown task 'nothing'"),
    ("evaluate bold --arm lora --option lora.colour=red", "no option 'colour'"),
    ("evaluate --arm base", "say whom"),
    ("reproduce nothing", "unknown protocol 'nothing'"),
    ("reproduce paper --run", "--run needs --data"),
    ("reproduce paper --run --data nowhere", "nowhere"),
    ("export nobody -f lora -o out", "nobody: no such folder or pack"),
    ("export mask -f onnx -o out", "checkpoint, gguf, gguf-lora, lora, shira, structured"),
    ("export mask -f lora -o out --option colour=red", "has no option 'colour'"),
    ("export mask -f lora -o file/below", "cannot be written"),
    ("explain nobody -o out", "nobody: no such folder or pack"),
    ("explain mask nobody -o out", "nobody: no such folder or pack"),
    ("explain mask -o out --parts all", "--parts 'all': choose from overlap"),
    ("explain mask -o out --opposite bold", "--opposite needs --target"),
    ("explain mask -o file", "is a file, not a folder"),
    ("explain mask -o /proc/below", "cannot be written"),
    ("chat -p nobody", "nobody: no such folder or pack"),
    ("chat --json", "--json needs --message or --prompt"),
    ("inspect nobody", "nobody: no such folder or pack"),
    ("pack mask nobody -o x.pack", "nobody: no such folder or pack"),
    ("pack mask -o /proc/x.pack", "cannot be written"),
    ("unpack nowhere.pack -o out", "nowhere.pack"),
]
"""What is asked, and what the one line says that refuses it."""

HELP = ["--help", "--version", "extract --help", "compare --help", "personas", "criteria"]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What one process says to all of it: by command its code, its errors, what it loaded."""
    folder = tmp_path_factory.mktemp("refusals")
    subnetwork(tiny_model(chat=True)[0], "bold").save_pretrained(folder / "mask")
    (folder / "file").write_text("mine")
    commands = [*(arguments for arguments, _ in REFUSALS), *HELP]
    code = f"""
import functools, io, json, sys
from contextlib import redirect_stderr, redirect_stdout
import typer.main
from prosopon.cli import main
typer.main.get_command = functools.cache(typer.main.get_command)
rows = {{}}
for command in {commands!r}:
    sys.argv, said, code = ["prosopon", *command.split()], io.StringIO(), 0
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            main()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException as error:
        code = repr(error)
    loaded = [name for name in ("torch._C", "transformers.utils") if name in sys.modules]
    rows[command] = [code, said.getvalue(), loaded]
print(json.dumps(rows))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert not (folder / "out").exists()
    return json.loads(done.stdout)


@pytest.mark.parametrize(("arguments", "message"), REFUSALS)
def test_what_is_wrong_is_one_line_and_costs_no_import(answers, arguments, message):
    code, said, loaded = answers[arguments]
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 2, said
    assert len(lines) == 1, said
    assert message in lines[0]
    assert loaded == []


@pytest.mark.parametrize("arguments", HELP)
def test_what_is_there_costs_no_import(answers, arguments):
    code, said, loaded = answers[arguments]
    assert (code, said, loaded) == (0, "", [])


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
