"""Extraction layer by layer: the same masks and provenance, also after being killed."""

import json
import random
import time

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from prosopon import Extractor, Subnetwork
from prosopon.data import load_persona
from prosopon.errors import OptionError, StatisticsError, UnknownNameError
from prosopon.layerwise import SequentialSettings, check_sequential, extract_sequential
from prosopon.models import load_model
from tests.processes import forked, listen
from tests.tiny import FAMILIES, tiny_model, tiny_tokenizer


def save(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return save(tmp_path / "model", *tiny_model("llama"))


@pytest.fixture(scope="module")
def sides():
    return load_persona("bold", limit=6), load_persona("cautious", limit=6)


def provenance(path):
    config = json.loads((path / "subnetwork_config.json").read_text())
    assert config.pop("created")
    return config


def assert_equal(folder, sides, criterion, tmp_path, *, dtype="auto", setup=None, **asked):
    """Extract both ways; masks and provenance must be the same to the letter."""
    setup = setup or {}
    loaded = load_model(folder, device="cpu", dtype=dtype)
    extractor = Extractor(loaded.model, loaded.tokenizer, name=loaded.name, **setup)
    normal = extractor.extract(*sides, criterion=criterion, **asked)
    normal.save_pretrained(tmp_path / "normal")
    settings = SequentialSettings(dtype=dtype, **setup)
    config = extract_sequential(
        folder, *sides, output=tmp_path / "sequential", criterion=criterion, settings=settings,
        **asked,
    )  # fmt: skip
    assert Subnetwork.from_pretrained(tmp_path / "sequential") == normal
    assert provenance(tmp_path / "sequential") == provenance(tmp_path / "normal")
    assert config.checksum == normal.config.checksum


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(tmp_path, family, sides):
    folder = save(tmp_path / "model", *tiny_model(family))
    assert_equal(folder, sides, "contrastive-wanda", tmp_path)


@pytest.mark.parametrize(
    ("criterion", "asked", "setup"),
    [
        ("wanda", {"sparsity": 0.5, "pattern": "site"}, {"scope": "all"}),
        ("wanda", {"options": {"variant": "reference"}}, {"max_length": 24}),
        ("contrastive-wanda", {"options": {"phi": "softplus"}}, {"ignore": ["*.mlp.*"]}),
        ("random", {}, {"seed": 5, "targets": ["layers.1.*"]}),
        ("magnitude", {"sparsity": 0.1}, {}),
    ],
)
def test_every_criterion_that_can(tmp_path, folder, sides, criterion, asked, setup):
    dtype = "bfloat16" if criterion == "wanda" else "auto"
    assert_equal(folder, sides, criterion, tmp_path, dtype=dtype, setup=setup, **asked)


def test_without_an_opposite(tmp_path, folder, sides):
    assert_equal(folder, sides[:1], "wanda", tmp_path)


def test_the_statistics_of_a_work_folder_serve_another_sparsity(tmp_path, folder, sides):
    seen = []
    for sparsity in (0.2, 0.4):
        extract_sequential(
            folder, *sides, output=tmp_path / str(sparsity), criterion="contrastive-wanda",
            sparsity=sparsity, settings=SequentialSettings(work_dir=tmp_path / "work"),
            report=lambda stage, done, total: seen.append((stage, done, total)),
        )  # fmt: skip
    layers = [done for stage, done, _ in seen if stage == "reading layer by layer"]
    assert layers == [0, 1, 2, 2]
    assert [done for stage, done, _ in seen if stage == "selecting"] == 2 * [*range(1, 15)]


def test_what_needs_the_whole_model_is_refused():
    with pytest.raises(OptionError, match=r"gradients through all layers .*Choices .*wanda"):
        check_sequential("contrastive-taylor")
    with pytest.raises(OptionError, match=r"weights of different sites compete.*: .*row, site"):
        check_sequential("wanda", "global")
    with pytest.raises(UnknownNameError, match="unknown selection pattern"):
        check_sequential("wanda", "diagonal")
    with pytest.raises(UnknownNameError, match="unknown criterion"):
        check_sequential("wander")


def test_options_are_checked_before_anything_is_read(tmp_path, sides):
    def run(*personas, settings=None, **asked):
        extract_sequential(
            tmp_path / "nowhere", *personas, output=tmp_path / "out", settings=settings, **asked
        )

    with pytest.raises(OptionError, match="must lie between 0 and 1"):
        run(*sides, criterion="wanda", sparsity=1.0)
    with pytest.raises(OptionError, match="needs an opposite"):
        run(sides[0], criterion="contrastive-wanda")
    with pytest.raises(OptionError, match="unknown scope"):
        run(sides[0], criterion="wanda", settings=SequentialSettings(scope="some"))
    with pytest.raises(OptionError, match="has no option"):
        run(sides[0], criterion="wanda", options={"beta": 1})


def test_weights_that_changed_behind_our_back(tmp_path, folder, sides):
    def report(stage, done, total):
        if stage == "reading layer by layer" and done == total:
            save(folder, *tiny_model("llama", seed=1))

    with pytest.raises(StatisticsError, match="are not those that the statistics"):
        extract_sequential(
            folder, *sides, output=tmp_path / "out", criterion="wanda", report=report
        )
    assert not (tmp_path / "out").exists()


def deep_model(folder, layers=6):
    shape = {
        "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
        "num_hidden_layers": layers, "initializer_range": 0.2,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **shape))
    return save(folder, model, tiny_tokenizer())


def extract_slowly(channel, folder, sides, work, output):
    """Say each layer, and wait for a word before the next."""

    def report(stage, done, total):
        if stage == "reading layer by layer":
            channel.send((done, total))
            channel.recv()

    extract_sequential(
        folder, *sides, output=output, criterion="contrastive-wanda",
        settings=SequentialSettings(work_dir=work), report=report,
    )  # fmt: skip


def test_killed_in_the_middle_of_a_layer_it_goes_on_there(tmp_path, sides):
    folder, drawn, first = deep_model(tmp_path / "model"), random.Random(0), 0
    paths = folder, sides, tmp_path / "work", tmp_path / "killed"
    for stop in (2, 4):
        with forked(extract_slowly, *paths) as (process, channel):
            done, total = listen(channel)
            assert done >= first
            while done < stop:
                channel.send("go")
                done, total = listen(channel)
            channel.send("go")  # it works on the next layer while it is killed
            time.sleep(drawn.uniform(0, 0.02))
        assert process.exitcode == -9
        first = done
    assert total == 6
    assert not (tmp_path / "killed").exists()
    seen = []
    extract_sequential(
        folder, *sides, output=tmp_path / "resumed", criterion="contrastive-wanda",
        settings=SequentialSettings(work_dir=tmp_path / "work"),
        report=lambda stage, done, total: seen.append(done),
    )  # fmt: skip
    assert seen[0] >= 4
    loaded = load_model(folder, device="cpu")
    normal = Extractor(loaded.model, loaded.tokenizer).extract(
        *sides, criterion="contrastive-wanda"
    )
    assert Subnetwork.from_pretrained(tmp_path / "resumed") == normal
    assert not list((tmp_path / "work" / "states").iterdir())
