"""General text of a large model is written once; whatever could change it is asked."""

import json

import pytest
import torch

from prosopon.data import Encoded
from prosopon.lm import general_text, sample_general, text_cache
from prosopon.lm.text_cache import read_texts, text_file, write_texts
from tests.tiny import tiny_model

REQUEST = {"count": 3}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where texts are kept, also those of tiny models."""
    monkeypatch.setenv("PROSOPON_CACHE", str(tmp_path))
    monkeypatch.setattr(text_cache, "FEWEST", 0)
    return tmp_path / "general"


@pytest.fixture
def model():
    return tiny_model("llama")


def refuse(*_args, **_keywords):
    raise AssertionError("written a second time")


@pytest.mark.parametrize(
    ("kind", "writer"), [("start", "generate_exactly"), ("answers", "generate_tokens")]
)
def test_texts_are_written_once(model, folder, monkeypatch, kind, writer):
    counts = []
    first = sample_general(*model, count=3, length=16, kind=kind)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(general_text, writer, refuse)
    again = sample_general(*model, count=3, length=16, kind=kind, progress=counts.append)
    assert again == first
    assert counts == [3]
    for other in ({"count": 2}, {"length": 15}, {"seed": 1}):
        with pytest.raises(AssertionError, match="a second time"):
            sample_general(*model, **{"count": 3, "length": 16, "kind": kind, **other})


def test_small_models_keep_none(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PROSOPON_CACHE", str(tmp_path))
    sample_general(*model, count=3, length=16)
    assert list(tmp_path.iterdir()) == []


def test_whatever_decides_what_is_written_decides_the_file(model, folder, monkeypatch):
    wanted, (net, tokenizer) = text_file(*model, REQUEST), model
    twin = tiny_model("llama")[0]
    assert text_file(twin, tokenizer, REQUEST) == wanted
    with torch.no_grad():
        next(reversed(list(twin.parameters()))).view(-1)[-1] *= 1 + 1e-6
    assert text_file(twin, tokenizer, REQUEST) != wanted
    assert text_file(net, tokenizer, {"count": 4}) != wanted
    net.config.rms_norm_eps *= 2
    assert text_file(net, tokenizer, REQUEST) != wanted
    net.config.rms_norm_eps /= 2
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 99)
        assert text_file(net, tokenizer, REQUEST) != wanted
        patch.undo()
        patch.setattr(net.config, "_attn_implementation", "eager")
        assert text_file(net, tokenizer, REQUEST) != wanted
    assert text_file(net, tokenizer, REQUEST) == wanted
    monkeypatch.setattr(tokenizer, "chat_template", "{{ messages }}")
    assert text_file(net, tokenizer, REQUEST) != wanted
    monkeypatch.undo()
    assert text_file(net.bfloat16(), tokenizer, REQUEST) != wanted


def test_a_model_that_says_more_than_its_weights_keeps_none(model, folder):
    net, tokenizer = model
    handle = net.get_output_embeddings().register_forward_hook(lambda *_: None)
    assert text_file(net, tokenizer, REQUEST) is None
    handle.remove()
    net.peft_config = {}
    assert text_file(net, tokenizer, REQUEST) is None
    del net.peft_config
    assert text_file(net.to("meta"), tokenizer, REQUEST) is None
    assert text_file(net, object(), REQUEST) is None


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"texts": [[1, 2]]}', '{"texts": [["a", 1]]}', "\x00"]
)
def test_a_damaged_file_is_written_anew(model, folder, content):
    first = sample_general(*model, count=3, length=16)
    (file,) = folder.iterdir()
    file.write_text(content)
    assert read_texts(file) is None
    assert sample_general(*model, count=3, length=16) == first
    assert json.loads(file.read_text())["texts"]


def test_a_folder_that_cannot_be_written_costs_nothing_else(model, folder):
    folder.write_text("a file")
    first = sample_general(*model, count=3, length=16)
    assert sample_general(*model, count=3, length=16) == first


def test_texts_come_back_as_they_were(tmp_path):
    counts = [False, False, True]
    texts = [Encoded([5, 6, 7], counts, counts), Encoded([8], [True], [True])]
    write_texts(tmp_path / "a.json", texts)
    assert read_texts(tmp_path / "a.json") == texts
    assert read_texts(tmp_path / "none.json") is None
