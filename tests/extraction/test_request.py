"""What is asked of an extraction: defaults filled in, and everything wrong said before reading."""

import pytest

from prosopon.data import load_persona
from prosopon.errors import DataError, OptionError, UnknownNameError
from prosopon.extraction import ExtractionSettings, Extractor, extract, resolve_contrast
from prosopon.extraction.request import resolve_request
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def sides():
    return load_persona("extravert", limit=3), load_persona("introvert", limit=3)


def test_defaults_are_the_criterion_s_own(sides):
    request = resolve_request(*sides, criterion="contrastive-wanda")
    assert (request.share, request.pattern, request.scope) == (0.3, "row", "response")
    assert request.opposite is sides[1]
    assert not request.reads_general
    light = resolve_request(*sides, criterion="contrastive-taylor")
    assert (light.share, light.pattern) == (0.006, "global")
    assert light.reads_general
    assert (
        resolve_request(*sides, criterion="contrastive-taylor", sparsity="auto").sparsity == "auto"
    )


def test_what_a_criterion_does_not_need_is_left_out(sides):
    assert resolve_request(*sides, criterion="wanda").opposite is None
    general = {"criterion": "set-difference", "options": {"general": 0.0}}
    assert not resolve_request(*sides, **general).reads_general
    assert resolve_request(*sides, criterion="set-difference").reads_general


def test_the_reference_counts_every_token_unless_told_otherwise(sides):
    reference = {"criterion": "wanda", "options": {"variant": "reference"}}
    assert resolve_request(*sides, **reference).scope == "all"
    assert resolve_request(*sides, **reference, scope="response").scope == "response"
    assert resolve_request(*sides, criterion="wanda", pattern="2:4").share == 0.5


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"criterion": "wonda"}, UnknownNameError, "Did you mean 'wanda'"),
        ({"criterion": "wanda", "pattern": "rows"}, UnknownNameError, "Did you mean 'row'"),
        (
            {"criterion": "wanda", "sparsity": "auto"},
            OptionError,
            "only contrastive-kl, contrastive-taylor can",
        ),
        ({"criterion": "sparsegpt", "pattern": "global"}, OptionError, "one site at a time"),
        ({"criterion": "sparsegpt", "pattern": "4:4"}, OptionError, "some of every 4 weights"),
        (
            {"criterion": "sparsegpt", "pattern": "2:4", "sparsity": 0.3},
            OptionError,
            "prunes exactly 0.5 of the weights",
        ),
        (
            {"criterion": "contrastive-taylor", "pattern": "row"},
            OptionError,
            "'global' or lora:R only",
        ),
        ({"criterion": "contrastive-taylor", "scope": "all"}, OptionError, "answers only"),
    ],
)
def test_what_has_no_meaning(sides, settings, error, message):
    with pytest.raises(error, match=message):
        resolve_request(*sides, **settings)


def test_an_opposite_is_needed_and_more_than_one_text(sides):
    with pytest.raises(OptionError, match="needs an opposite"):
        resolve_request(sides[0], criterion="contrastive-sparse")
    one = load_persona("introvert", limit=1)
    with pytest.raises(DataError, match=r"'introvert' has 1"):
        resolve_request(sides[0], one, criterion="contrastive-sparse")


def test_sources_become_personas():
    target, opposite = resolve_contrast("bold", None, criterion="contrastive-wanda", limit=3)
    assert (target.name, opposite.name, len(target)) == ("bold", "cautious", 3)
    assert resolve_contrast("bold", None, criterion="wanda", limit=3)[1] is None


def test_settings_are_one_record_and_single_words():
    model, tokenizer = tiny_model("llama")
    settings = ExtractionSettings(name="tiny", seed=5, only="mlp", max_length=32)
    extractor = Extractor(model, tokenizer, settings, seed=6)
    assert (extractor.name, extractor.seed, extractor.max_length) == ("tiny", 6, 32)
    assert {site.role for site in extractor.sites} == {"mlp"}
    other = extractor.without_statistics(7)
    assert (other.seed, extractor.seed) == (7, 6)
    assert other.sites is extractor.sites
    with pytest.raises(OptionError, match=r"unknown scope 'some'. Choices: response, all"):
        Extractor(model, tokenizer, scope="some")
    with pytest.raises(UnknownNameError, match="unknown setting of extract 'sede'"):
        extract(model, tokenizer, target="bold", sede=1)
