"""What keeps switches of personas apart from forward passes, answers and saving.

A switch while an answer is written would give text of two personas, and so would a forward pass
in one thread while another switches. The first is refused; the second is noticed by the forward
pass, which compares the number of switches before and after, and raises instead of returning.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from prosopon.errors import PersonaError


class Guard:
    """Watches one model while a PersonaModel is attached to it.

    It counts forward passes by two hooks, and stands in front of the model's ``generate`` and
    ``save_pretrained``, where the model has them. A forward pass inside a compiled graph is not
    seen; a generation is. ``title`` is what the weights wear; None for the base.
    """

    def __init__(self, model: nn.Module) -> None:
        self.title: str | None = None
        self._switches = 0  # odd while one is under way
        self._answers: set[object] = set()
        self._local = threading.local()
        self._hooks = [
            model.register_forward_pre_hook(_Hook(self._enter), prepend=True),
            model.register_forward_hook(_Hook(self._leave)),
        ]
        self._methods = [
            _Method(model, name, around)
            for name, around in (("generate", self._generate), ("save_pretrained", self._save))
            if hasattr(model, name)
        ]

    def remove(self) -> None:
        """Leave the model as it was found; doing it again does nothing."""
        while self._hooks:
            self._hooks.pop().remove()
        while self._methods:
            self._methods.pop().remove()

    def check_switch(self) -> None:
        """Raise a PersonaError while an answer is written."""
        if self._answers:
            raise PersonaError(
                "an answer is being written, and a switch would end it as another persona; let "
                "the generation finish, or close the stream"
            )

    @contextmanager
    def switching(self) -> Iterator[None]:
        """Let forward passes know that the weights change."""
        self._switches += 1
        try:
            yield
        finally:
            self._switches += 1

    @contextmanager
    def answering(self) -> Iterator[Callable[[], None]]:
        """Refuse switches meanwhile, and yield what raises if one came all the same.

        The end of a with block and closing are not refused: the base must come back.
        """
        start, answer = self._number(), object()

        def check() -> None:
            if self._switches != start:
                raise _mixture("an answer was written")

        try:
            self._answers.add(answer)
            yield check
        finally:
            self._answers.discard(answer)

    def _number(self) -> int:
        number = self._switches
        if number % 2:
            raise PersonaError("a switch of personas is under way; try again when it is done")
        return number

    def _enter(self) -> None:
        self._local.number = self._number()

    def _leave(self) -> None:
        if self._switches != getattr(self._local, "number", self._switches):
            raise _mixture("a forward pass ran")

    def _generate(self, generate: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self.answering() as check:
            result = generate(*args, **kwargs)
            check()
        return result

    def _save(self, save: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.title is not None:
            raise PersonaError(
                f"the model wears {self.title!r}, so that save_pretrained would write its masked "
                "weights as if they were the model's; disable() first for the base, or write the "
                "persona with prosopon.export.export_persona (prosopon export)"
            )
        return save(*args, **kwargs)


class _Hook:
    """A hook that calls a function; in a copy of the model it does nothing."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def __call__(self, *args: Any) -> None:
        if not torch.compiler.is_compiling():
            self._act()

    def __reduce__(self) -> Any:
        return _Hook, (_nothing,)


class _Method:
    """Stands in front of a model's method; a copy of the model has its own method again."""

    def __init__(self, model: Any, name: str, around: Callable[..., Any]) -> None:
        self._model, self._name = model, name
        self._around: Callable[..., Any] | None = around
        self._method = getattr(model, name)
        self._before = vars(model).get(name)
        functools.update_wrapper(self, self._method, updated=())
        setattr(model, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._around is None:
            return self._method(*args, **kwargs)
        return self._around(self._method, *args, **kwargs)

    def remove(self) -> None:
        """Put back what was there; where another one stands in front, only step aside."""
        self._around = None
        if vars(self._model).get(self._name) is self:
            if self._before is None:
                delattr(self._model, self._name)
            else:
                setattr(self._model, self._name, self._before)

    def __reduce__(self) -> Any:
        return getattr, (self._model, self._name)  # of the copy, which has none in front yet


def _nothing() -> None:
    """Do what the hooks of a copied model do."""


def _mixture(what: str) -> PersonaError:
    return PersonaError(
        f"personas were switched while {what}: its text would be of two of them; keep switches "
        "and forward passes apart (a lock, or a model a thread)"
    )
