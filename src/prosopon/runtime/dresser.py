"""What one model wears, and every change of it: one at a time, whole or not at all."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Protocol

import torch
from torch import nn

from prosopon.errors import OptionError, PersonaError, ProsoponError
from prosopon.models import Site, check_finite
from prosopon.models.attachment import claim, release
from prosopon.runtime.activation import Activation, Since
from prosopon.runtime.backends import Backend, BackendFactory
from prosopon.runtime.blocks import Blocks
from prosopon.runtime.guard import Guard
from prosopon.runtime.interrupts import DeferredInterrupts
from prosopon.runtime.looks import Outfit, Wardrobe, Wearable
from prosopon.runtime.membership import check_belongs
from prosopon.runtime.mixed import MixedBatch
from prosopon.runtime.spans import Span, SpanHooks, Stacks
from prosopon.subnetwork import Subnetwork

BASE_OUTFIT = Outfit()

Choice = Callable[[Wardrobe], Outfit]
"""Says what to wear, of what is loaded."""


class Hooks(Protocol):
    """Hooks that correct outputs until they are removed."""

    def remove(self) -> None:
        """Take them away; again is nothing."""


class Dresser:
    """Owns the sites of a model, and what they compute with: the outfit that is worn.

    Errors are those that :class:`~prosopon.runtime.PersonaModel` tells of; all public methods
    are refused while a switch is under way, and once the model is closed.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: Sequence[Site],
        factory: BackendFactory,
        quantised_from: str | None = None,
    ) -> None:
        self.model, self.sites, self.quantised_from = model, sites, quantised_from
        claim(sites, self)
        try:
            # After the claim: the weights of an owned model may be masked.
            check_finite(sites)
            self.backend: Backend = factory(sites)
        except BaseException:
            release(sites)
            raise
        self.guard = Guard(model)
        self.wardrobe = Wardrobe()
        self.blocks = Blocks(self.backend.gating)
        self.stacks = Stacks(self.blocks)
        self.outfit, self.closed = BASE_OUTFIT, False
        self._mixed: Hooks | None = None
        self._lock = threading.Lock()

    @property
    def active(self) -> str | None:
        """What the weights wear, in words; None for the base model's."""
        return self.guard.title

    def load(self, name: str, subnetwork: Subnetwork) -> None:
        """Take in a persona without wearing it."""
        with self._exclusively() as interrupts:
            if name in self.wardrobe.configs:
                raise PersonaError(
                    f"persona {name!r} is loaded already; unload it first, or give another name"
                )
            # Masks leave the signs that the fingerprint reads; new values of weights do not.
            outfit = self.outfit if self.wardrobe.compensates(self.outfit) else None
            if outfit is not None:
                self.guard.check_switch()
                self._switch(BASE_OUTFIT, interrupts)
            try:
                check_belongs(subnetwork, self.sites, self.model, self.quantised_from)
                self.backend.load(name, subnetwork.keep, subnetwork.levels, subnetwork.compensation)
                self.wardrobe.add(name, subnetwork)
            finally:
                if outfit is not None:
                    self._switch(outfit, interrupts)

    def unload(self, name: str) -> None:
        """Forget a persona; if it is worn, also in a blend, the base model comes back first."""
        with self._exclusively() as interrupts:
            self.wardrobe.check(name)
            if name in self.outfit.names:
                self.guard.check_switch()
                self._switch(BASE_OUTFIT, interrupts)
            self.backend.unload(name)
            self.blocks.cache.drop(name)
            self.stacks.drop(name)
            self.wardrobe.remove(name)

    def wear(self, choose: Choice) -> None:
        """Wear what is chosen, instead of whatever is worn."""
        with self._exclusively() as interrupts:
            outfit = choose(self.wardrobe)
            self._check_unmixed()
            if outfit.look != self.outfit.look:
                self.guard.check_switch()
            self._switch(outfit, interrupts)

    @contextmanager
    def wearing(self, choose: Choice) -> Iterator[None]:
        """Wear what is chosen inside a with block, and afterwards what was worn before."""
        before, refused = self.outfit, False
        try:
            try:
                self.wear(choose)
            except ProsoponError:
                refused = True  # nothing has changed, so there is nothing to undo
                raise
            yield
        finally:
            if not refused:
                self._wear_again(before)

    @contextmanager
    def mixing(
        self, rows: Sequence[Wearable], copies: int | None, since: Sequence[Since] | None = None
    ) -> Iterator[None]:
        """Let every row of a batch wear a persona of its own inside a with block.

        ``since`` says from which token on each row does, see
        :class:`~prosopon.runtime.activation.Activation`; None is from the first.

        Compiled graphs would leave out the hooks that do it, so that all code runs as written
        meanwhile.
        """
        if not rows or (copies is not None and copies < 1):
            raise OptionError("a mixed batch needs at least one row, and copies of at least 1")

        def prepare() -> Callable[[], Hooks]:
            activation = Activation(self.model, since) if since else None
            looks = [self.wardrobe.row(row).look for row in rows]
            return lambda: MixedBatch(
                self.sites, looks, copies, self.blocks, self.model, activation
            )

        with self._correcting(prepare):
            yield

    @contextmanager
    def packing(self, spans: Sequence[tuple[Wearable, int]]) -> Iterator[None]:
        """Let spans of tokens wear a persona each; see :func:`~prosopon.runtime.packed.packed`."""

        def prepare() -> Callable[[], Hooks]:
            worn = [Span(self.wardrobe.row(row).look, length) for row, length in spans]
            return lambda: SpanHooks(self.sites, worn, self.stacks)

        with self._correcting(prepare):
            yield

    def digest(self, row: Wearable) -> bytes:
        """Return 32 bytes that name what a row of a mixed batch loses."""
        return self.stacks.digest(self.wardrobe.row(row).look, self.sites)

    @contextmanager
    def _correcting(self, prepare: Callable[[], Callable[[], Hooks]]) -> Iterator[None]:
        """Take off outputs of the base inside a with block; see :meth:`mixing`.

        ``prepare`` may refuse before anything has changed; what it returns makes the hooks.
        """
        before, entered = self.outfit, False
        try:
            with self._exclusively() as interrupts:
                make = prepare()
                self._check_unmixed()
                self.guard.check_switch()
                entered = True
                self._switch(BASE_OUTFIT, interrupts)
                with self.guard.switching():
                    self._mixed = make()
            with torch.compiler.set_stance("force_eager"):
                yield
        finally:
            if entered:
                with self.guard.switching():
                    self._unmix()
                self._wear_again(before)

    def close(self) -> None:
        """Return to the base model, forget all personas and let the model go; again is nothing."""
        if self.closed:
            return
        with self._exclusively():
            self._take(BASE_OUTFIT)
            self._unmix()
            let_go(self.backend, self.guard, self.sites)
            self.wardrobe = Wardrobe()
            self.closed = True

    def _wear_again(self, before: Outfit) -> None:
        """Return to what was worn before a block, as far as it is still there."""
        if not self.closed:
            with self._exclusively() as interrupts:
                again = before.names <= self.wardrobe.configs.keys()
                self._switch(before if again else BASE_OUTFIT, interrupts)

    def _check_unmixed(self) -> None:
        if self._mixed is not None:
            raise PersonaError("a mixed batch is under way; leave its with block first")

    def _unmix(self) -> None:
        """End a mixed batch, if there is one."""
        if self._mixed is not None:
            self._mixed.remove()
            self._mixed = None

    @contextmanager
    def _exclusively(self) -> Iterator[DeferredInterrupts]:
        """Keep out other threads, re-entrant calls from signal handlers, and Ctrl-C.

        Interrupts are deferred first and let in last: the lock is never left taken.
        """
        with DeferredInterrupts() as interrupts:
            if not self._lock.acquire(blocking=False):
                raise PersonaError("a switch of personas is under way; try again when it is done")
            try:
                if self.closed:
                    raise PersonaError("this PersonaModel is closed; attach a new one")
                yield interrupts
            finally:
                self._lock.release()

    def _switch(self, outfit: Outfit, interrupts: DeferredInterrupts) -> None:
        """Change what is worn, or return to the base and raise."""
        self._check_unmixed()
        changes = outfit.look != self.outfit.look
        with self.guard.switching() if changes else nullcontext():
            try:
                if outfit.look:
                    self.backend.wear(outfit.look, interrupts.deliver)
                else:
                    self.backend.restore()
                self._take(outfit)
                interrupts.deliver()
            except BaseException:
                self._take(BASE_OUTFIT)
                self.backend.restore()
                raise

    def _take(self, outfit: Outfit) -> None:
        self.outfit = outfit
        self.guard.title = outfit.title if outfit.look else None


def let_go(backend: Backend, guard: Guard, sites: Sequence[Site]) -> None:
    """Return a model to its base and leave it without an owner."""
    with DeferredInterrupts():
        with guard.switching():
            backend.close()
        guard.remove()
        release(sites)
