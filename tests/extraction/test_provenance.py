"""What stands beside a mask, and what can be given to be extracted."""

import pytest
import torch

from prosopon import Extractor, extract
from prosopon.data import Example, Message, load_persona
from prosopon.errors import OptionError, UnknownNameError
from tests.tiny import CHAT_TEMPLATE, tiny_model

WANDA = {"criterion": "wanda", "sparsity": 0.5}


@pytest.fixture(scope="module")
def llama():
    return tiny_model("llama", chat=True)


def same(a, b):
    return all(torch.equal(a.keep[name], b.keep[name]) for name in a.keep)


def test_the_day_that_a_template_was_told_is_recorded(llama):
    model, tokenizer = llama
    persona = load_persona("bold", limit=6)
    plain = Extractor(model, tokenizer).extract(persona, **WANDA)
    assert plain.config.calibration.rendering_date is None
    dated = tiny_model("llama", chat=True)[1]
    dated.chat_template = "{{ strftime_now('%d %B %Y') }}" + CHAT_TEMPLATE
    mask = Extractor(model, dated).extract(persona, **WANDA)
    assert mask.config.calibration.rendering_date == "2025-01-01"
    dated.chat_template = "01 January 2025" + CHAT_TEMPLATE
    assert same(mask, Extractor(model, dated).extract(persona, **WANDA))


def test_lists_of_rows_texts_and_examples(llama):
    rows = [{"prompt": f"How {n}?", "completion": f"Yes {n}."} for n in range(4)]
    examples = [
        Example((Message("user", f"How {n}?"), Message("assistant", f"Yes {n}."))) for n in range(4)
    ]
    masks = [extract(*llama, target=source, **WANDA) for source in (rows, examples)]
    assert same(*masks)
    assert masks[0].config.calibration.target_count == 4
    texts = extract(*llama, target=["Yes, gladly.", "No, never."], limit=1, **WANDA)
    assert texts.config.calibration.target_count == 1


def test_settings_that_extract_does_not_know(llama):
    with pytest.raises(OptionError, match=r"no setting 'examples'.*'limit'"):
        extract(*llama, target="bold", examples=16)
    with pytest.raises(UnknownNameError, match="Did you mean 'max_length'"):
        extract(*llama, target="bold", max_lenght=16)
