"""Small labs for the tests of arms."""

import dataclasses

from prosopon.arms import Lab
from prosopon.data import Example, Message, Persona
from prosopon.data.contrast import Contrast, bundled_contrast
from prosopon.extraction import Extractor
from tests.tiny import tiny_model

PROMPTS = tuple((Message("user", text),) for text in ("Hi?", "What do the people say?"))
GENERAL = Persona(  # given, since a model takes half a second to write its own
    "general",
    tuple(
        Example((Message("assistant", f"Line {i} of {i * i} is not about the people of {i}."),))
        for i in range(12)
    ),
)


def tiny_contrast(count=24, *, plain=False, line="You are bold.", description="Bold."):
    """Return bold against cautious; ``plain`` leaves the questions out."""
    found = bundled_contrast("bold", questions=4)

    def side(persona):
        examples = persona.examples[:count]
        if plain:
            examples = [Example((Message("assistant", e.response),)) for e in examples]
        return Persona(persona.name, tuple(examples))

    calibration = tuple(map(side, found.calibration))
    return Contrast(calibration, found.judge, found.test, line, description)


def tiny_lab(
    family="llama", *, examples=8, options=None, contrast=None, seed=0, chat=True, **given
):
    """Return a lab on a tiny random model."""
    model, tokenizer = tiny_model(family, chat=chat, **given)
    extractor = Extractor(model, tokenizer, general=GENERAL)
    return Lab(extractor, contrast or tiny_contrast(), examples, seed, options or {})


def exchange(contrast):
    """Return the contrast whose target is this one's opposite."""
    parts = {part: getattr(contrast, part)[::-1] for part in ("calibration", "judge", "test")}
    return dataclasses.replace(contrast, **parts, line=None, description="")


def state_of(model):
    """Return all that speaking must leave as it was."""
    return {
        "modules": [(name, id(module)) for name, module in model.named_modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "flags": [(id(p), p.data_ptr(), p.requires_grad) for p in model.parameters()],
        "attributes": sorted(vars(model)),
        "mode": [module.training for module in model.modules()],
    }


def weights_of(model):
    """Return a copy of all weights and buffers."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.clone() for name, tensor in tensors}


def same_weights(model, before):
    """Tell whether all weights and buffers are bit for bit as they were."""
    after = weights_of(model)
    return after.keys() == before.keys() and all(
        after[name].numpy().tobytes() == tensor.numpy().tobytes() for name, tensor in before.items()
    )
