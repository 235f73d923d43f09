"""Loading from folders, and the one-line errors of everything that can be wrong with them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from prosopon import embedded
from prosopon.errors import ModelError, OptionError
from prosopon.models import find_sites, fingerprint, load_model, loading, resolve_device
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's folder; tests that damage it take `folder` instead."""
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    model, tokenizer = tiny_model("llama")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "tiny")


def refuse(name: str | Path, *words: str, **options: Any) -> str:
    """Load, expect a ModelError of one line that holds all ``words``, and return it."""
    with pytest.raises(ModelError) as caught:
        load_model(name, device="cpu", **options)
    message = str(caught.value)
    assert "\n" not in message
    assert repr(str(name)) in message
    for word in words:
        assert word in message
    return message


def rewrite_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class TestFolders:
    def test_a_saved_model_comes_back(self, saved: Path) -> None:
        original, _ = tiny_model("llama")
        loaded = load_model(saved, device="cpu")
        model, tokenizer, name = loaded
        assert name == str(saved)
        assert loaded.revision is None
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert fingerprint(find_sites(model)) == fingerprint(find_sites(original))
        ids = tokenizer("Yes, the people", return_tensors="pt")["input_ids"]
        assert torch.equal(model(ids).logits, original(ids).logits)

    @pytest.mark.parametrize("name", ["tiny1m", "stories260K"])
    def test_real_models(self, shared: Path, name: str) -> None:
        model, tokenizer, _ = load_model(str(shared / "models" / name), device="cpu")
        sites = find_sites(model)
        assert len(sites) == 7 * model.config.num_hidden_layers
        ids = tokenizer("Once upon a time", return_tensors="pt")["input_ids"]
        loss = model(ids, labels=ids).loss
        assert loss < 4  # a model of 512 tokens that knew nothing would be at 6.2

    @pytest.mark.parametrize(
        ("dtype", "expected"), [(name, getattr(torch, name)) for name in loading.DTYPES]
    )
    def test_dtypes(self, saved: Path, dtype: str, expected: torch.dtype) -> None:
        assert load_model(saved, device="cpu", dtype=dtype).model.dtype == expected

    def test_auto_keeps_the_dtype_of_the_checkpoint(self, tmp_path: Path) -> None:
        model, tokenizer = tiny_model("llama", dtype=torch.bfloat16)
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        assert load_model(tmp_path, device="cpu").model.dtype == torch.bfloat16

    def test_a_device_map(self, saved: Path) -> None:
        pytest.importorskip("accelerate")
        model = load_model(saved, device_map={"": "cpu"}).model
        assert find_sites(model)

    def test_the_home_folder(self, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(saved.parent))
        assert load_model("~/tiny", device="cpu").name == "~/tiny"

    def test_embedded_means_the_package(self, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedded, "path", lambda: saved)
        assert load_model("embedded", device="cpu").name == "embedded"


class TestFailures:
    @pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere", "a/b/c", "~/nowhere"])
    def test_missing_folder(self, name: str) -> None:
        refuse(name, "there is no such folder")

    def test_a_file_is_no_folder(self, saved: Path) -> None:
        refuse(saved / "config.json", "there is no such folder")

    def test_unknown_hub_id_offline(self) -> None:
        refuse("prosopon-tests/no-such-model", "nor is there a folder of that name")

    def test_a_hub_that_cannot_be_reached_is_asked_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: Any
    ) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        began = time.perf_counter()
        refuse("prosopon-tests/no-such-model", "cannot be reached (", "the cache does not hold it")
        assert time.perf_counter() - began < 5
        assert not caplog.records

    def test_a_model_in_the_cache_needs_no_hub(
        self, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from huggingface_hub import constants

        repository = tmp_path / "models--org--model"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs/main").write_text("a" * 40)
        shutil.copytree(saved, repository / "snapshots" / ("a" * 40))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        # Nothing is tried again after a while: the library would wait between its five tries.
        monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"waited {seconds} s"))
        assert load_model("org/model", device="cpu").name == "org/model"

    def test_no_config(self, folder: Path) -> None:
        (folder / "config.json").unlink()
        refuse(folder, "no config.json")

    @pytest.mark.parametrize(
        ("file", "hint"),
        [("adapter_config.json", "PEFT adapter"), ("subnetwork_config.json", "base model")],
    )
    def test_folders_of_other_things(self, tmp_path: Path, file: str, hint: str) -> None:
        (tmp_path / file).write_text("{}")
        refuse(tmp_path, "no config.json", hint)

    @pytest.mark.parametrize("text", ["{nope", "{}", "[]", "", '{"model_type": "wibble"}'])
    def test_broken_config(self, folder: Path, text: str) -> None:
        (folder / "config.json").write_text(text)
        refuse(folder, "its configuration cannot be read")

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
    def test_truncated_weights(self, folder: Path, share: float) -> None:
        path = folder / "model.safetensors"
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        refuse(folder, "its weights cannot be read")

    def test_no_weights(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        refuse(folder, "its weights cannot be read", "model.safetensors")

    def test_weights_of_another_shape(self, folder: Path) -> None:
        rewrite_config(folder, intermediate_size=64)
        refuse(folder, "its weights cannot be read")

    def test_absent_parameters_are_not_made_up(self, folder: Path) -> None:
        rewrite_config(folder, num_hidden_layers=3)
        refuse(folder, "lacks 9 parameters", "model.layers.2.")

    def test_no_tokenizer(self, folder: Path) -> None:
        for path in folder.glob("tokenizer*"):
            path.unlink()
        refuse(folder, "its tokenizer cannot be read")

    def test_broken_tokenizer(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{")
        refuse(folder, "its tokenizer cannot be read")

    def test_encoder_only(self, folder: Path) -> None:
        from transformers import BertConfig, BertForMaskedLM

        config = BertConfig(
            vocab_size=300,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
        BertForMaskedLM(config).save_pretrained(folder)
        refuse(folder, "bert is encoder-only, not a causal language model")

    def test_a_bert_that_is_a_decoder_is_causal(self, folder: Path) -> None:
        from transformers import BertConfig, BertLMHeadModel

        config = BertConfig(
            vocab_size=300,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            is_decoder=True,
        )
        BertLMHeadModel(config).save_pretrained(folder)
        assert find_sites(load_model(folder, device="cpu").model)

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("t5", "an encoder-decoder"),
            ("distilbert", "encoder-only"),
            ("vit", "a kind without a causal head"),
        ],
    )
    def test_other_kinds(self, folder: Path, kind: str, reason: str) -> None:
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        refuse(folder, reason, "not a causal language model")

    def test_embedded_without_weights(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded, "__file__", str(tmp_path / "__init__.py"))
        with pytest.raises(ModelError, match="embedded model is not in this installation"):
            load_model("embedded", device="cpu")

    def test_interrupts_pass(self, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from transformers import AutoConfig

        def interrupt(*args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(AutoConfig, "from_pretrained", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_model(saved, device="cpu")

    def test_endless_reasons_are_cut(self, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from transformers import AutoConfig

        def fail(*args: Any, **kwargs: Any) -> None:
            raise ValueError("\n  word " * 2 + "x" * 9999)

        monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
        assert "word" in refuse(saved)
        monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *a, **k: 1 / 0)
        assert len(refuse(saved, "division by zero")) < 500


class TestOptions:
    def test_unknown_dtype(self, saved: Path) -> None:
        with pytest.raises(OptionError, match="Choices: auto, float32, bfloat16, float16"):
            load_model(saved, device="cpu", dtype="int4")

    def test_a_folder_has_no_revision(self, saved: Path) -> None:
        with pytest.raises(OptionError, match="no revisions"):
            load_model(saved, device="cpu", revision="main")

    def test_device_and_device_map_exclude_each_other(self, saved: Path) -> None:
        with pytest.raises(OptionError, match="exclude each other"):
            load_model(saved, device="cpu", device_map="auto")

    def test_a_device_map_needs_accelerate(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loading, "find_spec", lambda name: None)
        with pytest.raises(OptionError, match=r"prosopon\[accelerate\]"):
            load_model(saved, device_map="auto")

    def test_the_revision_reaches_the_hub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from transformers import AutoConfig

        asked: dict[str, Any] = {}

        def record(source: str, **keywords: Any) -> None:
            asked.update(keywords, source=source)
            raise OSError("far away")

        monkeypatch.setattr(AutoConfig, "from_pretrained", record)
        monkeypatch.setattr(loading, "unreachable", lambda: None)
        refuse("org/model", "far away", revision="v1")
        assert asked == {"source": "org/model", "revision": "v1", "trust_remote_code": False}


class TestDevices:
    @pytest.fixture
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], None]:
        """Pretend that the machine has so many CUDA devices, and MPS or not."""

        def pretend(cuda: int, mps: bool) -> None:
            monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
            monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

        return pretend

    @pytest.mark.parametrize(
        ("cuda", "mps", "expected"),
        [(0, False, "cpu"), (0, True, "mps"), (1, True, "cuda"), (2, False, "cuda")],
    )
    def test_auto(
        self, machine: Callable[[int, bool], None], cuda: int, mps: bool, expected: str
    ) -> None:
        machine(cuda, mps)
        assert resolve_device("auto").type == expected

    def test_names(self, machine: Callable[[int, bool], None]) -> None:
        machine(2, True)
        assert resolve_device("cpu") == torch.device("cpu")
        assert resolve_device("mps") == torch.device("mps")
        assert resolve_device("cuda") == torch.device("cuda")
        assert resolve_device("cuda:1") == torch.device("cuda", 1)

    @pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
    def test_absent_devices(self, machine: Callable[[int, bool], None], device: str) -> None:
        machine(0, False)
        with pytest.raises(OptionError, match=f"{device!r} is not available"):
            resolve_device(device)

    def test_an_index_beyond_the_machine(self, machine: Callable[[int, bool], None]) -> None:
        machine(2, False)
        with pytest.raises(OptionError, match="has 2 cuda devices"):
            resolve_device("cuda:2")

    @pytest.mark.parametrize("device", ["gpu", "meta", "", "xla", "cpu:x"])
    def test_unknown_names(self, device: str) -> None:
        with pytest.raises(OptionError, match="Choices: auto, cpu, cuda, mps"):
            resolve_device(device)


class TestPadToken:
    def reload(self, folder: Path, tokenizer: Any) -> tuple[Any, Any]:
        for path in folder.glob("*token*"):
            path.unlink()
        tokenizer.save_pretrained(folder)
        model, loaded, _ = load_model(folder, device="cpu")
        return model, loaded

    def test_its_own_is_kept(self, folder: Path) -> None:
        _, tokenizer = self.reload(folder, tiny_tokenizer())
        assert tokenizer.pad_token == "<pad>"

    def test_end_of_sequence_stands_in(self, folder: Path) -> None:
        rewrite_config(folder, pad_token_id=None)
        (folder / "generation_config.json").unlink()
        model, tokenizer = self.reload(folder, tiny_tokenizer(pad=False))
        assert tokenizer.pad_token == "</s>"
        assert model.generation_config.pad_token_id == tokenizer.pad_token_id == 2

    def test_then_the_unknown_token(self, folder: Path) -> None:
        bare = tiny_tokenizer(pad=False)
        bare.eos_token, bare.unk_token = None, "<s>"
        _, tokenizer = self.reload(folder, bare)
        assert tokenizer.pad_token_id == 1

    def test_then_the_token_of_id_zero(self, folder: Path) -> None:
        bare = tiny_tokenizer(pad=False)
        bare.eos_token = None
        _, tokenizer = self.reload(folder, bare)
        assert tokenizer.pad_token_id == 0
        batch = tokenizer(["Yes", "Yes and No"], padding=True)
        assert batch["attention_mask"][0][-1] == 0

    def test_one_that_the_model_cannot_embed_is_replaced(self, folder: Path) -> None:
        extended = tiny_tokenizer(pad=False)
        extended.add_special_tokens({"pad_token": "<beyond>"})
        _, tokenizer = self.reload(folder, extended)
        assert tokenizer.pad_token == "</s>"

    def test_a_model_that_cannot_generate(self) -> None:
        rows = SimpleNamespace(weight=torch.zeros(9, 2))
        model = SimpleNamespace(get_input_embeddings=lambda: rows)
        tokenizer = SimpleNamespace(pad_token_id=None, eos_token_id=3, unk_token_id=None)
        loading._ensure_pad_token(model, tokenizer)
        assert tokenizer.pad_token_id == 3
