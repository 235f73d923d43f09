"""The names of transformers that are used, and whose pages a row is given."""

from __future__ import annotations

import pytest
import torch
from transformers.generation import continuous_batching
from transformers.generation.continuous_batching import cache, model_runner, scheduler

from prosopon.serving import pages as own
from prosopon.serving.pages import NAMES, PAGE, EngineError, Pages, Prefix, check_names, page_tokens
from tests.tiny import tiny_model

BASE = Prefix(None, None)
GREEDY = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")[0]


@pytest.fixture(scope="module")
def made(model):
    return Pages(model, 4, 512)


@pytest.fixture
def pages(made):
    made.clear()
    made.prompt_tokens = made.shared = 0
    return made


def tokens(count, seed=0):
    return torch.randint(3, 200, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.no_grad()
def write(pages, rows, steps=1):
    """Read rows to their ends, greedily; return what was read of each, and what it wrote."""
    for key, (prompt, prefix) in rows.items():
        pages.add(key, prompt, len(prompt) + steps, prefix)
    read = dict.fromkeys(rows, 0)
    written = {key: [] for key in rows}
    while any(len(row) < steps for row in written.values()):
        readings = pages.prepare()
        for reading in readings:
            read[reading.key] += reading.length
        drawn = pages.read().argmax(1).tolist()
        keys = [reading.key for reading in readings if reading.has_scores]
        pages.take(drawn[: len(keys)])
        for key, token in zip(keys, drawn, strict=False):
            written[key].append(token)
    for key in rows:
        pages.finish(key)
    return read, written


def test_this_transformers_has_every_name_that_is_used():
    check_names()
    assert continuous_batching.PagedAttentionCache is cache.PagedAttentionCache


@pytest.mark.parametrize(
    ("owner", "name", "words"),
    [
        (scheduler.Scheduler, "finish_request", r"no scheduler\.Scheduler\.finish_request$"),
        (model_runner.ModelRunner, "_sample", r"model_runner\.ModelRunner\._sample"),
        (cache.PagedAttentionCache, "search_prefix_match", r"PagedAttentionCache\.search_prefix"),
    ],
)
def test_a_name_that_has_gone_is_said(model, monkeypatch, owner, name, words):
    monkeypatch.delattr(owner, name)
    with pytest.raises(EngineError, match=rf"^transformers \d.* has changed .*{words}"):
        Pages(model, 2, 256)


def test_parameters_and_modules_that_have_gone_are_said_too(monkeypatch):
    changed = NAMES | {"requests.RequestState": ("request_id", "prompt"), "nothing.Such": ()}
    monkeypatch.setattr(own, "NAMES", changed)
    with pytest.raises(EngineError, match=r"requests\.RequestState\(prompt\), nothing\.Such$"):
        check_names()


@pytest.mark.parametrize("name", ["ATTRIBUTES", "ROW_ATTRIBUTES"])
def test_attributes_of_objects_are_looked_for(model, monkeypatch, name):
    monkeypatch.setattr(own, name, (*getattr(own, name), "cache.colour"))
    with pytest.raises(EngineError, match=r"it has no \w+\.cache\.colour$"):
        write(Pages(model, 2, 256), {"a": (tokens(3), BASE)})


def test_a_model_that_does_not_fit_is_refused(model):
    with pytest.raises(EngineError, match="needs attention sdpa, and this is eager"):
        Pages(tiny_model("gpt_neo")[0], 2, 256)
    with pytest.raises(EngineError, match="transformers: MemoryError: "):
        Pages(model, 2, 1 << 40)


def test_pages_hold_two_contexts_a_row_or_a_gibibyte(model):
    assert page_tokens(model, 8) == 2 * 8 * 512
    token = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, their width, bytes
    assert page_tokens(model, 1 << 20) == (1 << 30) // token // PAGE * PAGE


def test_rows_write_what_the_model_generates(model, pages):
    rows = {str(n): (tokens(length, n), BASE) for n, length in enumerate((1, 15, 16, 17, 40))}
    found = {}
    for keys in (["0", "1", "2"], ["3", "4"]):
        found |= write(pages, {key: rows[key] for key in keys}, 5)[1]
    for key, (prompt, _) in rows.items():
        ids = torch.tensor([prompt])
        new = model.generate(ids, attention_mask=torch.ones_like(ids), **GREEDY)
        assert new[0, len(prompt) :].tolist() == found[key]


def test_a_prefix_is_shared_with_its_reader_alone(pages):
    prompt, bold, calm = tokens(50), Prefix(b"b" * 32, None), Prefix(b"c" * 32, None)
    zeros = Prefix(bytes(32), None)
    for key, prefix in {"base": BASE, "bold": bold, "calm": calm, "zeros": zeros}.items():
        assert write(pages, {key: (prompt, prefix)})[0] == {key: 50}, key
    assert (pages.prompt_tokens, pages.shared) == (200, 0)
    assert write(pages, {"a": (prompt, bold)})[0] == {"a": 2}
    assert write(pages, {"b": (prompt[:33], BASE)})[0] == {"b": 1}
    assert write(pages, {"c": (prompt[:32], calm)})[0] == {"c": 16}  # never its last token
    assert write(pages, {"d": (prompt[1:], calm)})[0] == {"d": 49}
    assert write(pages, {"e": ([*prompt[:20], 7, *prompt[21:]], calm)})[0] == {"e": 34}
    assert pages.shared == 48 + 32 + 16 + 16


def test_what_others_may_not_share_has_no_name(pages):
    """Of a row whose last prompt token is another's, only the pages before are the base's."""
    prompt = tokens(40)
    _, written = write(pages, {"a": (prompt, Prefix(None, 39))}, 30)
    longer = prompt + written["a"]
    assert write(pages, {"b": (longer, BASE)})[0] == {"b": 70 - 32}
    assert write(pages, {"c": (longer, Prefix(None, 39))})[0] == {"c": 70 - 32}
    assert write(pages, {"d": (longer, BASE)})[0] == {"d": 70 - 64}


def test_old_pages_make_room_and_rows_wait_for_theirs(pages):
    for number in range(12):
        write(pages, {str(number): (tokens(100, number), BASE)})
    assert pages.fits(400)
    assert not pages.fits(420)
    assert write(pages, {"long": (tokens(400, 50), BASE)}, 3)[0] == {"long": 402}
    pages.add("waits", tokens(50), 60, BASE)
    assert not pages.fits(400)
    pages.finish("waits")  # it has never been read
    assert pages.prepare() == []
    pages.clear()
    assert write(pages, {"a": (tokens(100, 3), BASE)})[0] == {"a": 100}


def test_a_long_prompt_is_read_in_steps(model, monkeypatch):
    monkeypatch.setattr(own, "STEP_TOKENS", 32)
    pages, prompt = Pages(model, 4, 512), tokens(100)
    pages.add("a", prompt, 102, BASE)
    lengths, scores = [], []
    with torch.no_grad():
        for _ in range(4):
            (reading,) = pages.prepare()
            lengths.append((reading.past, reading.length, reading.has_scores))
            scores = pages.read()
            pages.take([0] * reading.has_scores)
        alone = model(torch.tensor([prompt])).logits[0, -1]
    assert lengths == [(0, 32, False), (32, 32, False), (64, 32, False), (96, 4, True)]
    assert torch.allclose(scores[0], alone, atol=1e-4)
