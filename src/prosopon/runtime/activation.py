"""From which token on a row wears its look: from the prompt's first one, or for the answer alone.

For the answer the look is worn from the prompt's last token on, which the answer's first token is
read from. The keys and values of what stands before are the base's, whoever answers, and so can
be shared by all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import torch

from prosopon.errors import OptionError, PersonaError
from prosopon.lm.forward import cache_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    TakeOff = Callable[[Tensor, Tensor], Tensor]

Activate = Literal["prompt", "answer"]
"""Whether a persona is worn from the prompt's first token on, or from its last."""

Since = Activate | int
"""The same of one row; a number is the column that it is worn from, padding counted."""

CHOICES = ("prompt", "answer")


def check_activate(activate: object) -> None:
    """Raise an OptionError unless it is one of :data:`Activate`."""
    if activate not in CHOICES:
        raise OptionError(f"unknown activate {activate!r}. Choices: {', '.join(CHOICES)}")


def of_rows(activate: Activate | Sequence[Since], rows: int) -> list[Since] | None:
    """Return where each of some rows begins to be worn; None where all do from the first token.

    Raises:
        OptionError: It is given for another number of rows.
    """
    if isinstance(activate, str):
        check_activate(activate)
        return None if activate == "prompt" else [activate] * rows
    if len(activate) != rows:
        raise OptionError(f"activate is given for {len(activate)} rows, and there are {rows}")
    return list(activate)


def check_generation(options: Mapping[str, Any]) -> None:
    """Refuse (OptionError) what would hide from :class:`Activation` where the prompt ends."""
    for name, plain in (("use_cache", True), ("prefill_chunk_size", None)):
        if options.get(name, plain) != plain:
            raise OptionError(f"activate='answer' and {name}={options[name]!r} do not go together")


class Activation:
    """Knows, in every forward pass, from which column on each row of the batch is worn.

    The first pass reads the prompt, and so does every one that begins without a cache. What
    follows is the answer.

    Args:
        model: The model; it has a hook inside the with block that this is.
        since: Of every row; a batch of more rows has copies of each beside each other.

    Attributes:
        width: Columns of the pass under way.
        worn: Where it is worn, bool [rows, columns].

    Raises:
        OptionError: An unknown word, or a number below 0.
        PersonaError: The model keeps no keys and values, so no pass would tell answers apart.
    """

    def __init__(self, model: nn.Module, since: Sequence[Since]) -> None:
        for one in since:
            if isinstance(one, str) or one < 0:
                check_activate(one)
        self._cache = cache_name(model)
        if "answer" in since and self._cache is None:
            raise PersonaError(
                f"{type(model).__name__} keeps no keys and values between passes, so that an "
                "answer cannot be told from its prompt; wear the persona from the prompt on"
            )
        self._since, self._prompt, self._begin, self._is_even = list(since), 0, 0, True
        self._model, self.width, self.worn = model, 0, torch.zeros(0, 0, dtype=torch.bool)

    def __enter__(self) -> Self:
        self._hook = self._model.register_forward_pre_hook(self._read, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _read(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Find out what a pass reads, and where it is worn."""
        inputs = (*(kwargs.get(name) for name in ("input_ids", "inputs_embeds")), *args[:1])
        batch = next(one for one in inputs if one is not None)
        rows, self.width = batch.shape[:2]
        cache = kwargs.get(self._cache) if self._cache else None
        past = 0 if cache is None else int(cache.get_seq_length())
        if not (past and self._prompt):
            self._prompt = past + self.width
        words = {"prompt": 0, "answer": self._prompt - 1}
        starts = [words[one] if isinstance(one, str) else one for one in self._since]
        columns = torch.tensor(starts).repeat_interleave(rows // len(starts)) - past
        self._begin = int(columns.clamp(0, self.width).min())
        worn = torch.arange(self.width) >= columns.unsqueeze(1)
        self._is_even = bool(worn[:, self._begin :].all())
        self.worn = worn.to(batch.device)

    def apply(self, tokens: Tensor, output: Tensor, take_off: TakeOff) -> Tensor:
        """Return a site's output, of which ``take_off`` changes the worn columns alone."""
        begin = self._begin
        if begin == self.width:
            return output
        inputs = tokens.reshape(-1, self.width, tokens.shape[-1])
        base = output.reshape(-1, self.width, output.shape[-1])
        tail, worn = base[:, begin:], self.worn[:, begin:]
        changed = take_off(inputs[:, begin:], tail)
        if not self._is_even:
            changed = torch.where(worn.unsqueeze(2), changed, tail)
        return torch.cat([base[:, :begin], changed], 1).view(output.shape)
