"""Layer by layer is the same as at once; what is broken off goes on; others' work is refused."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from prosopon.errors import ModelError, StatisticsError
from prosopon.layerwise import collect_sequential, open_skeleton
from prosopon.models import find_sites, load_model
from prosopon.statistics import collect_statistics
from prosopon.statistics.channel import SUMS
from tests.statistics.conftest import random_examples
from tests.tiny import FAMILIES, tiny_model, tiny_tokenizer

BATCHES = {"max_rows": 5}


def save(folder, model):
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def assert_equal(got, expected):
    """Bit for bit, in the same order."""
    assert list(got.groups.items()) == list(expected.groups.items())
    assert list(got.channels) == list(expected.channels)
    assert (got.scope, got.fingerprint, got.sources) == (
        expected.scope, expected.fingerprint, expected.sources,
    )  # fmt: skip
    for name, channel in expected.channels.items():
        found = got.channels[name]
        assert (found.tokens, found.samples) == (channel.tokens, channel.samples)
        for key in SUMS:
            assert torch.equal(getattr(found, key), getattr(channel, key)), (name, key)


def from_disk(folder, sets, *, patterns=None, dtype="auto", **options):
    skeleton, _ = open_skeleton(folder, dtype=dtype)
    sites = skeleton.sites(targets=patterns)
    return collect_sequential(skeleton, sites, sets, **BATCHES, **options)


def whole(model, examples, patterns=None, **options):
    return collect_statistics(
        model, find_sites(model, targets=patterns), examples, **BATCHES, **options
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_bit_for_bit(tmp_path, family, examples):
    model, _ = tiny_model(family)
    save(tmp_path / "model", model)
    sets = {"a": examples, "b": random_examples(6, seed=1)}
    got = from_disk(tmp_path / "model", sets, sources={"a": "x", "b": "y"}, padding_side="left")
    for name, source in (("a", "x"), ("b", "y")):
        assert_equal(got[name], whole(model, sets[name], source=source, padding_side="left"))


SPECIAL = {
    "sliding and full attention": ("gemma2", {"sliding_window": 5, "num_hidden_layers": 3}),
    "two rotary embeddings": (
        "gemma3_text", {"sliding_window": 5, "num_hidden_layers": 3, "head_dim": 8},
    ),
    "a short window": ("mistral", {"sliding_window": 4}),
    "a window in some layers": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    ),
    "sites outside the layers": ("opt", {"word_embed_proj_dim": 16, "ffn_dim": 40}),
    "alibi": ("bloom", {"n_layer": 2, "n_head": 4}),
    "one layer": ("llama", {"num_hidden_layers": 1}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_differs_from_layer_to_layer(tmp_path, kind, examples):
    family, settings = SPECIAL[kind]
    shape = {
        "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "initializer_range": 0.2, "pad_token_id": 0,
    }  # fmt: skip
    config = AutoConfig.for_model(family, **shape | settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
    save(tmp_path, model)
    assert_equal(from_disk(tmp_path, {"a": examples})["a"], whole(model, examples))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_dtypes_bit_for_bit(tmp_path, dtype, examples):
    save(tmp_path, tiny_model("gemma")[0])
    loaded = load_model(tmp_path, dtype=dtype, device="cpu").model
    assert_equal(from_disk(tmp_path, {"a": examples}, dtype=dtype)["a"], whole(loaded, examples))


def test_layers_behind_the_last_site_are_not_read(tmp_path, examples):
    model, _ = tiny_model("llama")
    save(tmp_path / "model", model)
    patterns, seen = ["layers.0.*"], []
    got = from_disk(
        tmp_path / "model", {"a": examples}, patterns=patterns, work_dir=tmp_path / "work",
        report=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert_equal(got["a"], whole(model, examples, patterns))
    assert seen == [(0, 1), (1, 1)]


def test_without_a_work_folder_a_temporary_one_comes_and_goes(tmp_path, examples, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    model, _ = tiny_model("gpt2")
    save(tmp_path / "model", model)
    seen = []

    def report(done, total):
        seen.append(len(list((tmp_path / "temporary").rglob("*.safetensors"))))

    got = from_disk(tmp_path / "model", {"a": examples}, report=report)["a"]
    assert_equal(got, whole(model, examples))
    assert seen[1] > 1
    assert not list((tmp_path / "temporary").iterdir())


class Stop(Exception):
    """Breaks a run off."""


def deep_model(folder, layers=4):
    shape = {
        "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
        "num_hidden_layers": layers, "initializer_range": 0.2,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **shape)).eval()
    save(folder, model)
    return model


def test_a_run_broken_off_after_any_layer_goes_on_there(tmp_path, examples):
    model = deep_model(tmp_path / "model")
    work, seen = tmp_path / "work", []
    for stop in range(5):

        def report(done, total, stop=stop):
            seen.append(done)
            if done == stop:
                raise Stop

        with pytest.raises(Stop):
            from_disk(tmp_path / "model", {"a": examples}, work_dir=work, report=report)
    # Each run begins where the one before ended.
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    got = from_disk(tmp_path / "model", {"a": examples}, work_dir=work)["a"]
    assert_equal(got, whole(model, examples))
    assert not list((work / "states").iterdir())


@pytest.fixture
def half(tmp_path, examples):
    """A model and the work folder of a run that was broken off after two of four layers."""
    model = deep_model(tmp_path / "model")

    def report(done, total):
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        from_disk(tmp_path / "model", {"a": examples}, work_dir=tmp_path / "work", report=report)
    return model


def test_broken_off_in_the_middle_of_a_layer(tmp_path, half, examples):
    """What the killed run had begun is written again."""
    begun = tmp_path / "work" / "states" / "00003"
    begun.mkdir()
    (begun / "a-00000.safetensors").write_bytes(b"half a file")
    (begun / ".a-00001.safetensors.x.tmp").write_bytes(b"")
    (tmp_path / "work" / "layers" / "00002.a.safetensors").write_bytes(b"half a file")
    got = from_disk(tmp_path / "model", {"a": examples}, work_dir=tmp_path / "work")["a"]
    assert_equal(got, whole(half, examples))


def test_killed_before_the_input_of_a_finished_layer_was_deleted(tmp_path, half, examples):
    work = tmp_path / "work"
    shutil.copytree(work / "states" / "00002", work / "states" / "00001")
    (work / "states" / "00000").mkdir()
    got = from_disk(tmp_path / "model", {"a": examples}, work_dir=work)["a"]
    assert_equal(got, whole(half, examples))
    assert not list((work / "states").iterdir())


def test_the_work_of_another_run_is_refused(tmp_path, half, examples):
    def again(sets=None, folder="model", **options):
        from_disk(tmp_path / folder, sets or {"a": examples}, work_dir=tmp_path / "work", **options)

    for difference, expected in [
        ({"sets": {"a": examples[1:]}}, "its examples is"),
        ({"sets": {"b": examples}}, "its examples is"),
        ({"scope": "all"}, 'its scope is "response", this run\'s "all"'),
        ({"dtype": "bfloat16"}, 'its dtype is "float32", this run\'s "bfloat16"'),
        ({"patterns": ["layers.0.*"]}, "its sites is"),
        ({"padding_side": "left"}, "its padding_side is"),
        ({"sources": {"a": "x"}}, "its sources is"),
    ]:
        with pytest.raises(StatisticsError, match=f"holds the work of another run: {expected}"):
            again(**difference)
    shutil.copytree(tmp_path / "model", tmp_path / "moved")  # keeps the times: the same files
    again(folder="moved")
    deep_model(tmp_path / "changed")
    with pytest.raises(StatisticsError, match="its files is"):
        again(folder="changed")
    manifest = tmp_path / "work" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["versions"]["torch"] = "0.1"
    manifest.write_text(json.dumps(content))
    with pytest.raises(StatisticsError, match="its versions is"):
        again()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("layers/00001.a.safetensors", "missing or damaged; delete the work folder"),
        ("layers/00001.json", "damaged .*delete the work folder"),
        ("states/00002/a-00000.safetensors", "hidden states are missing or damaged"),
        ("manifest.json", "damaged .*delete the work folder"),
    ],
)
def test_damaged_work_is_refused(tmp_path, half, examples, damage, message):
    path = tmp_path / "work" / damage
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StatisticsError, match=message):
        from_disk(tmp_path / "model", {"a": examples}, work_dir=tmp_path / "work")


def test_folders_that_are_no_work_folders(tmp_path, examples):
    deep_model(tmp_path / "model", 1)
    with pytest.raises(StatisticsError, match="is not empty and no work folder"):
        from_disk(tmp_path / "model", {"a": examples}, work_dir=tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StatisticsError, match="is a file"):
        from_disk(tmp_path / "model", {"a": examples}, work_dir=file)


def test_errors_of_the_model_and_the_examples(tmp_path, examples):
    deep_model(tmp_path / "model", 2)
    with pytest.raises(StatisticsError, match=r"no examples to collect statistics from \(a\)"):
        from_disk(tmp_path / "model", {"a": []})
    for value, kind, message in [
        (float("nan"), "mlp.up_proj", "1536 of 1536 weights that are NaN"),
        (float("inf"), "input_layernorm", "NaN or infinite activations"),
    ]:
        model = deep_model(tmp_path / "model", 2)
        with torch.no_grad():
            model.model.layers[1].get_submodule(kind).weight.fill_(value)
        save(tmp_path / "model", model)
        with pytest.raises((ModelError, StatisticsError), match=message):
            from_disk(tmp_path / "model", {"a": examples})
