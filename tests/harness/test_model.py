"""The harness's model scores as prosopon itself and as Hugging Face's loss do."""

import pytest
import torch

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance

from prosopon.data import Message
from prosopon.errors import ModelError, OptionError, ProsoponError, SubnetworkError
from prosopon.harness import MODEL, register
from prosopon.lm.answers import score_answers
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork
from tests.harness.conftest import ROWS
from tests.runtime.samples import assert_bits, subnetwork, weights
from tests.tiny import tiny_model

PersonaLM = register()
PAIRS = [(row["question"], " " + option) for row in ROWS for option in row["options"]]


def asked(pairs=PAIRS):
    return [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(pairs)]


def scores(lm, pairs=PAIRS):
    return [total for total, _ in lm.loglikelihood(asked(pairs), disable_tqdm=True)]


def ours(model, tokenizer):
    items = [((Message("assistant", question),), option) for question, option in PAIRS]
    return [score.total for score in score_answers(model, tokenizer, items)]


@torch.no_grad()
def hugging_face(model, tokenizer):
    found = []
    for question, option in PAIRS:
        ids = tokenizer(question + option, return_tensors="pt").input_ids
        labels = ids.clone()
        labels[:, : len(tokenizer(question).input_ids)] = -100
        loss = model(input_ids=ids, labels=labels).loss
        found.append(-loss.item() * int((labels != -100).sum()))
    return found


@pytest.fixture
def handed():
    """A model in memory with a persona of its own."""
    model, tokenizer = tiny_model("llama", chat=True)
    return model, tokenizer, subnetwork(model, share=0.2, ranked=True)


def test_it_is_registered():
    from lm_eval.api.registry import get_model

    assert get_model(MODEL) is PersonaLM is register()


@pytest.mark.parametrize("worn", [{}, {"strength": 0.4}, {"gamma": 0.5}])
@pytest.mark.parametrize("backend", ["inplace", "functional"])
def test_scores_are_ours_and_those_of_the_loss(model_folder, persona_folder, worn, backend):
    lm = PersonaLM(
        str(model_folder), persona=str(persona_folder), backend=backend,
        device="cpu", batch_size=4, **worn,
    )  # fmt: skip
    model, tokenizer = tiny_model("llama", chat=True)
    base = ours(model, tokenizer)
    persona = PersonaModel(model)
    persona.set_persona(persona.load_persona(Subnetwork.from_pretrained(persona_folder)), **worn)
    found = scores(lm)
    assert found == pytest.approx(ours(model, tokenizer), abs=1e-4)
    assert found == pytest.approx(hugging_face(model, tokenizer), abs=1e-4)
    assert max(abs(a - b) for a, b in zip(found, base, strict=True)) > 0.1


def test_without_a_persona_it_is_the_base(model_folder):
    lm = PersonaLM(str(model_folder), device="cpu")
    assert scores(lm) == pytest.approx(ours(*tiny_model("llama", chat=True)), abs=1e-4)
    assert lm.get_model_info()["persona"] is None
    lm.close()


def test_the_embedded_model():
    from prosopon import load_model

    loaded = load_model("embedded", device="cpu")
    lm = PersonaLM("embedded", device="cpu")
    assert scores(lm) == pytest.approx(ours(loaded.model, loaded.tokenizer), abs=1e-4)


def test_free_text_and_rolling_scores_are_the_personas(handed):
    model, tokenizer, persona = handed
    free = [Instance("generate_until", {}, ("Who is", {"max_gen_toks": 8, "until": ["@"]}), 0)]
    text = [Instance("loglikelihood_rolling", {}, ("Who is there?",), 0)]
    said, read = [], []
    for worn in (None, persona):
        with PersonaLM(model, worn, tokenizer=tokenizer) as lm:
            said.append(lm.generate_until(free, disable_tqdm=True)[0])
            read.append(lm.loglikelihood_rolling(text, disable_tqdm=True)[0])
    assert said[0] != said[1]
    assert abs(read[0] - read[1]) > 0.1


def test_the_base_comes_back_bit_for_bit(handed):
    model, tokenizer, persona = handed
    before = weights(model)
    lm = PersonaLM(model, persona, tokenizer=tokenizer)
    assert lm.get_model_info()["persona"] == "introvert"
    assert any(not torch.equal(before[name], now) for name, now in model.state_dict().items())
    lm.close()
    lm.close()
    assert_bits(model, before)
    with (
        pytest.raises(RuntimeError, match="halfway"),
        PersonaLM(model, persona, tokenizer=tokenizer),
    ):
        raise RuntimeError("halfway")
    assert_bits(model, before)


def test_what_cannot_be_worn_leaves_the_model_alone(handed):
    model, tokenizer, _ = handed
    before = weights(model)
    plain = subnetwork(model, share=0.2)
    with pytest.raises(ProsoponError, match="ranking"):
        PersonaLM(model, plain, strength=0.5, tokenizer=tokenizer)
    with pytest.raises(OptionError, match="gamma"):
        PersonaLM(model, plain, gamma=2, tokenizer=tokenizer)
    other, _ = tiny_model("llama", seed=1)
    with pytest.raises(SubnetworkError, match="does not belong to this model"):
        PersonaLM(model, subnetwork(other), tokenizer=tokenizer)
    assert_bits(model, before)
    PersonaModel(model).close()  # nothing is attached any more


def test_unknown_things_are_one_clear_line(model_folder, persona_folder, tmp_path):
    with pytest.raises(SubnetworkError, match="nowhere"):
        PersonaLM(str(model_folder), persona=str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match=r"cannot load model .*nothing") as caught:
        PersonaLM(str(tmp_path / "nothing"), persona=str(persona_folder), device="cpu")
    assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match=r"strength is a number between 0 and 1, not 'half'"):
        PersonaLM(str(model_folder), persona=str(persona_folder), strength="half")
    with pytest.raises(OptionError, match=r"persona=\.\.\. names it"):
        PersonaLM(str(model_folder), gamma=0.5)
    with pytest.raises(ProsoponError, match=r"causal.*functional, inplace"):
        PersonaLM(str(model_folder), persona=str(persona_folder), backend="causal", device="cpu")
