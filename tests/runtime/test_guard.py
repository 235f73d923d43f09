"""Switches, forward passes, answers and saving of one model stay apart."""

import copy
import inspect
import pickle
import threading

import pytest
import torch

from prosopon import PersonaModel
from prosopon.errors import PersonaError
from tests.runtime import samples
from tests.tiny import tiny_model


@pytest.fixture
def attached():
    model, tokenizer = tiny_model("llama", chat=True)
    with PersonaModel(model, tokenizer) as attached:
        for seed, name in enumerate("ab"):
            attached.load_persona(samples.subnetwork(model, name, seed=seed))
        yield attached


def in_a_thread(act):
    """Run a function in another thread and return what it raised."""
    raised = []

    def run():
        try:
            act()
        except PersonaError as error:
            raised.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()
    return raised


def amid_a_forward_pass(model, act):
    """Call ``act`` once in another thread, between the first layer and the second."""
    done = []

    def hook(*_):
        if not done:
            done.append(in_a_thread(act))

    return model.model.layers[1].register_forward_pre_hook(hook), done


def test_a_forward_pass_during_which_another_thread_switches_is_an_error(attached):
    ids = samples.tokens(attached.model)
    attached.set_persona("a")
    alone = samples.logits(attached.model)
    handle, done = amid_a_forward_pass(attached.model, lambda: attached.set_persona("b"))
    with pytest.raises(PersonaError, match="personas were switched while a forward pass ran"):
        attached.model(ids)
    handle.remove()
    assert (done, attached.active) == ([[]], "b")
    attached.set_persona("a")
    assert torch.equal(samples.logits(attached.model), alone)


def test_a_forward_pass_during_which_nothing_changes_is_none(attached):
    attached.set_persona("a")
    expected = samples.logits(attached.model)
    handle, done = amid_a_forward_pass(attached.model, lambda: attached.set_persona("a"))
    assert torch.equal(samples.logits(attached.model), expected)
    handle.remove()
    assert done == [[]]


def test_a_forward_pass_in_the_middle_of_a_switch_is_refused(attached, monkeypatch):
    from prosopon.runtime import inplace

    raised, write = [], inplace.write

    def slow(*arguments):
        monkeypatch.undo()
        raised.extend(in_a_thread(lambda: attached.model(samples.tokens(attached.model))))
        write(*arguments)

    monkeypatch.setattr(inplace, "write", slow)
    attached.set_persona("a")
    assert raised == ["a switch of personas is under way; try again when it is done"]


@pytest.mark.parametrize("own", [True, False], ids=["model", "persona_model"])
def test_a_switch_during_a_generation_is_refused(attached, own):
    generate = attached.model.generate if own else attached.generate
    ids = samples.tokens(attached.model, rows=1)
    settings = {"max_new_tokens": 4, "do_sample": False}
    attached.set_persona("a")
    expected = generate(ids, **settings)
    handle, done = amid_a_forward_pass(attached.model, attached.disable)
    assert torch.equal(generate(ids, **settings), expected)
    handle.remove()
    assert "an answer is being written" in done[0][0]
    assert attached.active == "a"
    attached.disable()  # the generation is over


def test_a_generation_that_fails_holds_nothing(attached):
    attached.set_persona("a")
    with pytest.raises(TypeError):
        attached.model.generate(samples.tokens(attached.model), 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
    attached.set_persona("b")


def test_saving_is_refused_while_a_persona_is_worn(attached, tmp_path):
    model = attached.model
    attached.set_persona("a")
    with pytest.raises(PersonaError, match=r"wears 'a', .* disable\(\) first"):
        model.save_pretrained(tmp_path / "masked")
    assert not (tmp_path / "masked").exists()
    attached.set_persona("a", gamma=1.0)  # the base
    model.save_pretrained(tmp_path / "same")
    attached.set_blend({"a": 1, "b": 1})
    with pytest.raises(PersonaError, match="wears 'a 1"):
        model.save_pretrained(tmp_path / "masked")
    with attached.mixed([None]):
        model.save_pretrained(tmp_path / "mixed")
    attached.disable()
    model.save_pretrained(tmp_path / "base")
    files = [tmp_path / name / "model.safetensors" for name in ("base", "same", "mixed")]
    assert len({file.read_bytes() for file in files}) == 1


def test_a_closed_model_and_a_copy_are_left_alone(attached, tmp_path):
    model = attached.model
    assert inspect.signature(model.generate) == inspect.signature(type(model).generate).replace(
        parameters=list(inspect.signature(type(model).generate).parameters.values())[1:]
    )
    attached.set_persona("a")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(samples.logits(other), samples.logits(model))
        other.save_pretrained(tmp_path / "copy")  # nobody's
        assert other.generate.__self__ is other
    attached.close()
    assert not {"generate", "save_pretrained"} & vars(model).keys()
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    model.save_pretrained(tmp_path / "base")


@pytest.mark.parametrize("first", [0, 1])
def test_two_attachments_on_one_model_guard_both(first, tmp_path):
    model, _ = tiny_model("llama")
    both = [PersonaModel(model, targets=["q_proj"]), PersonaModel(model, targets=["k_proj"])]
    for one, target in zip(both, ("q_proj", "k_proj"), strict=True):
        one.set_persona(one.load_persona(samples.subnetwork(model, target, targets=[target])))
    for one in (both[first], both[1 - first]):
        with pytest.raises(PersonaError, match="wears"):
            model.save_pretrained(tmp_path)
        one.close()
    model.save_pretrained(tmp_path)
