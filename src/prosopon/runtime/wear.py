"""The one door to wear a subnetwork for a while: masks, compensation, and the way back."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from prosopon.models.sites import candidate_names
from prosopon.runtime.activation import Activate
from prosopon.runtime.persona_model import PersonaModel
from prosopon.subnetwork import Subnetwork


@contextmanager
def worn(
    model: nn.Module, tokenizer: Any, subnetwork: Subnetwork | None, activate: Activate = "prompt"
) -> Iterator[PersonaModel | None]:
    """Wear a subnetwork inside a with block, its compensation included.

    The base is back afterwards, bit for bit, whatever happens.

    Args:
        model: The model that the subnetwork was extracted from.
        tokenizer: Its tokenizer; None will do.
        subnetwork: What to wear; None for the base, which changes nothing.
        activate: ``answer`` wears it from the prompt's last token on, in generation; see
            :meth:`PersonaModel.mixed <prosopon.runtime.PersonaModel.mixed>`.

    Yields:
        The model that wears it; None for the base.

    Raises:
        SubnetworkError: The subnetwork belongs to another model.
        PersonaError: Another PersonaModel is attached to its sites.
    """
    if subnetwork is None:
        yield None
        return
    with attach(model, tokenizer, subnetwork) as wearer:
        name = wearer.load_persona(subnetwork)
        if activate == "prompt":
            wearer.set_persona(name)
            yield wearer
        else:
            with wearer.mixed([name], copies=None, activate=activate):
                yield wearer


def attach(model: nn.Module, tokenizer: Any, subnetwork: Subnetwork) -> PersonaModel:
    """Attach to the sites of a subnetwork alone: others may be of a kind that no mask fits.

    If the model lacks one of them, all its sites are taken, and loading says what is wrong.

    Raises:
        PersonaError: Another PersonaModel is attached to them.
    """
    names = set(candidate_names(model))
    targets = None
    if all(name in names for name in subnetwork.sites):
        targets = ["re:" + "|".join(map(re.escape, subnetwork.sites))]
    return PersonaModel(model, tokenizer, targets=targets)
