"""The persona model: one resident base model that wears personas, blends and mixed batches."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from torch import nn

from prosopon.errors import OptionError, PersonaError, ProsoponError
from prosopon.models import Site, check_finite, find_sites
from prosopon.runtime.attachment import claim, release
from prosopon.runtime.backends import BACKENDS, Backend
from prosopon.runtime.interrupts import DeferredInterrupts
from prosopon.runtime.looks import BlendMode, Outfit, Wardrobe, Wearable
from prosopon.runtime.matching import check_belongs
from prosopon.runtime.mixed import Blocks, MixedBatch
from prosopon.subnetwork import Subnetwork, SubnetworkConfig

_BASE = Outfit()


class PersonaModel:
    """Wears persona subnetworks on a model and always finds back to the base, bit for bit.

    A call that changes what is worn either succeeds, or is refused (a
    :class:`~prosopon.errors.ProsoponError`: nothing has changed), or is broken off by another
    exception or Ctrl-C: then the base model is back before the exception arrives. Between
    calls what :attr:`active`, :attr:`gamma`, :attr:`strength` and :attr:`blend` say is what the
    weights are.

    Rows of one batch can wear different personas: :meth:`mixed`.

    Only switches are protected against each other: two threads that switch at once get a
    :class:`~prosopon.errors.PersonaError`, but a forward pass that runs in one thread while
    another switches sees weights of both personas.

    Use it as a context manager, or call :meth:`close`, to have the base model back for sure.

    Args:
        model: A causal language model. No other PersonaModel may be attached to it.
        tokenizer: Kept as :attr:`tokenizer` for the caller's convenience.
        backend: ``inplace``, or ``functional`` (slow; never writes a weight).
        targets: Patterns of the sites to manage; default all.
        ignore: Patterns of sites to leave alone.

    Attributes:
        model: The model.
        tokenizer: The tokenizer.
        sites: The sites that personas may prune.

    Raises:
        SiteError: The model has no usable sites.
        ModelError: A weight is NaN or infinite.
        UnknownNameError: No such backend.
        PersonaError: Another PersonaModel is attached.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any = None,
        *,
        backend: str = "inplace",
        targets: Sequence[str] | None = None,
        ignore: Sequence[str] = (),
    ) -> None:
        factory = BACKENDS.get(backend)
        self.model, self.tokenizer = model, tokenizer
        self.sites: list[Site] = find_sites(model, targets=targets, ignore=ignore)
        claim(self.sites)
        try:
            # After the claim: the weights of an owned model may be masked.
            check_finite(self.sites)
            self._backend = factory(self.sites)
        except BaseException:
            release(self.sites)
            raise
        self._wardrobe = Wardrobe()
        self._mixed: MixedBatch | None = None
        self._blocks = Blocks(self._backend.gating)
        self._outfit = _BASE
        self._closed = False
        self._lock = threading.Lock()
        # Dropped without close(): give the weights back all the same.
        self._finalizer = weakref.finalize(self, _let_go, self._backend, self.sites)
        self._finalizer.atexit = False

    @property
    def personas(self) -> list[str]:
        """Names of the loaded personas, sorted."""
        return sorted(self._wardrobe.configs)

    @property
    def active(self) -> str | None:
        """What is worn: a persona's name, a blend in words; None for the base model."""
        return self._outfit.title

    @property
    def gamma(self) -> float:
        """Gate of the worn persona's weights: 0 for the hard mask, 1 for the base model."""
        return self._outfit.gamma

    @property
    def strength(self) -> float:
        """Share of the worn persona's ranking that is pruned; 1 is the whole mask."""
        return self._outfit.strength

    @property
    def blend(self) -> dict[str, float] | None:
        """Weights of the worn blend by persona; None if none is worn."""
        return None if self._outfit.blend is None else dict(self._outfit.blend)

    def config(self, name: str) -> SubnetworkConfig:
        """Return the provenance of a loaded persona.

        Raises:
            UnknownNameError: It is not loaded.
        """
        self._wardrobe.check(name)
        return self._wardrobe.configs[name]

    def load_persona(self, source: str | Path | Subnetwork, name: str | None = None) -> str:
        """Load a persona without wearing it.

        A compensation in the subnetwork comes along: the persona then is worn whole and alone
        (strength and gamma 0 or 1, no blend, no mixed batch).

        Args:
            source: A folder that ``save_pretrained`` wrote, or a subnetwork.
            name: What to call it; default the name in the subnetwork.

        Returns:
            Its name.

        Raises:
            SubnetworkError: The folder is damaged, or the subnetwork belongs to another model.
            PersonaError: The name is taken, or the model is closed.
        """
        if not isinstance(source, Subnetwork):
            source = Subnetwork.from_pretrained(source)
        name = source.config.persona if name is None else name
        with self._exclusively() as interrupts:
            if name in self._wardrobe.configs:
                raise PersonaError(
                    f"persona {name!r} is loaded already; unload it first, or give another name"
                )
            # Masks leave the signs that the fingerprint reads; new values of weights do not.
            outfit = self._outfit if self._wardrobe.compensates(self._outfit) else None
            if outfit is not None:
                self._switch(_BASE, interrupts)
            try:
                check_belongs(source, self.sites)
                self._backend.load(name, source.keep, source.levels, source.compensation)
                self._wardrobe.add(name, source)
            finally:
                if outfit is not None:
                    self._switch(outfit, interrupts)
        return name

    def unload_persona(self, name: str) -> None:
        """Forget a persona; if it is worn, also in a blend, the base model comes back first.

        Raises:
            UnknownNameError: It is not loaded.
            PersonaError: A switch is under way, or the model is closed.
        """
        with self._exclusively() as interrupts:
            self._wardrobe.check(name)
            if name in self._outfit.names:
                self._switch(_BASE, interrupts)
            self._backend.unload(name)
            self._blocks.drop(name)
            self._wardrobe.remove(name)

    def set_persona(self, name: str | None, *, gamma: float = 0.0, strength: float = 1.0) -> None:
        """Wear a persona, instead of whatever is worn.

        Args:
            name: A loaded persona; None for the base model.
            gamma: Soft gate in [0, 1]: a pruned weight w counts as w * gamma. 0 is the hard
                mask, 1 exactly the base model.
            strength: Share of the persona's ranking that is pruned, in [0, 1]: 0 is the base
                model, 1 the whole mask; every strength prunes what the lower ones prune, and
                more. It has 256 steps.

        Raises:
            UnknownNameError: The persona is not loaded.
            OptionError: ``gamma`` or ``strength`` is outside [0, 1].
            PersonaError: A strength below 1 of a persona without a ranking; a switch or a mixed
                batch is under way; or the model is closed.
        """
        with self._exclusively() as interrupts:
            self._switch(self._wardrobe.single(name, gamma, strength), interrupts)

    def set_blend(self, weights: Mapping[str, float], *, mode: BlendMode = "auto") -> None:
        """Wear several personas at once, instead of whatever is worn.

        With ``mode="strength"`` a persona of weight w prunes the share w of its ranking, and
        what any of them prunes is pruned. With ``mode="gate"`` its pruned weights are multiplied
        by 1 - w, where several prune the same weight by all their gates. ``auto`` takes the
        first for personas with a ranking and the second for the others. Weights need not add
        up to 1; a weight of 1 is the whole mask, 0 nothing.

        Args:
            weights: Weight in [0, 1] of every persona, for instance
                ``{"introvert": 0.7, "thinking": 0.3}``, or
                :func:`~prosopon.runtime.compose` ``("INTJ")``.
            mode: ``auto``, ``strength`` or ``gate``.

        Raises:
            UnknownNameError: A persona is not loaded.
            OptionError: No persona, a weight outside [0, 1], or an unknown mode.
            PersonaError: ``mode="strength"`` and a weight below 1 of a persona without a
                ranking; a switch or a mixed batch is under way; or the model is closed.
        """
        with self._exclusively() as interrupts:
            self._switch(self._wardrobe.blend(weights, mode), interrupts)

    @contextmanager
    def persona(
        self, name: str | None, *, gamma: float = 0.0, strength: float = 1.0
    ) -> Iterator[Self]:
        """Wear a persona inside a with block.

        Afterwards, also after an exception, what was worn before is worn again; the base model
        if a persona of it has been unloaded inside the block.

        Args:
            name: See :meth:`set_persona`.
            gamma: See :meth:`set_persona`.
            strength: See :meth:`set_persona`.

        Raises:
            ProsoponError: See :meth:`set_persona`.
        """
        before, refused = self._outfit, False
        try:
            try:
                self.set_persona(name, gamma=gamma, strength=strength)
            except ProsoponError:
                refused = True  # nothing has changed, so there is nothing to undo
                raise
            yield self
        finally:
            if not refused:
                self._wear_again(before)

    @contextmanager
    def mixed(self, rows: Sequence[Wearable], *, copies: int = 1) -> Iterator[Self]:
        """Let every row of a batch wear a persona of its own inside a with block.

        The weights are those of the base meanwhile: a forward pass computes all rows at once
        and then takes off, row by row, what the row's persona prunes. That costs a
        multiplication and 8 bytes for every pruned weight and row, so it is for light masks.
        Afterwards what was worn before is worn again.

        Args:
            rows: For every row of the batch a persona's name, a blend as weights by name (see
                :meth:`set_blend`), or None for the base model.
            copies: How many rows of the batch stand for each of these, beside each other, as
                the beams of a generation do.

        Raises:
            UnknownNameError: A persona is not loaded.
            OptionError: No rows, or ``copies`` below 1.
            PersonaError: A persona prunes experts; a switch or another mixed batch is under
                way; the model is closed; or, from the forward pass, the batch has another
                number of rows.
        """
        if not rows or copies < 1:
            raise OptionError("a mixed batch needs at least one row, and copies of at least 1")
        before, entered = self._outfit, False
        try:
            with self._exclusively() as interrupts:
                looks = [self._wardrobe.row(row).look for row in rows]
                self._check_unmixed()
                entered = True
                self._switch(_BASE, interrupts)
                self._mixed = MixedBatch(self.sites, looks, copies, self._blocks)
            yield self
        finally:
            if entered:
                self._unmix()
                self._wear_again(before)

    def disable(self) -> None:
        """Return to the base model.

        Raises:
            PersonaError: A switch is under way, or the model is closed.
        """
        self.set_persona(None)

    def generate(
        self, *args: Any, personas: Sequence[Wearable] | None = None, **kwargs: Any
    ) -> Any:
        """Call ``model.generate`` as the persona that is worn, or as one for every row.

        Args:
            args: For ``model.generate``.
            personas: What each row of the batch wears, see :meth:`mixed`; beams and several
                returned sequences of a row wear what it wears. Greedily, every row gets the
                tokens that it gets with its persona alone, as far as rounding does not decide
                between two tokens.
            kwargs: For ``model.generate``.

        Raises:
            ProsoponError: See :meth:`mixed`.
        """
        model = cast(Any, self.model)
        if personas is None:
            return model.generate(*args, **kwargs)
        with self.mixed(personas, copies=_copies(model, kwargs)):
            return model.generate(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model as the persona that is worn."""
        return self.model(*args, **kwargs)

    def close(self) -> None:
        """Return to the base model, forget all personas and let the model go.

        Everything but reading attributes fails afterwards; closing again does nothing.

        Raises:
            PersonaError: A switch is under way.
        """
        if self._closed:
            return
        with self._exclusively():
            self._outfit = _BASE
            self._unmix()
            self._backend.close()
            release(self.sites)
            self._finalizer.detach()
            self._wardrobe = Wardrobe()
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        worn = "base" if self.active is None else f"{self.active!r}, gamma={self.gamma:g}"
        if self.strength < 1.0:
            worn += f", strength={self.strength:g}"
        return f"PersonaModel({type(self.model).__name__}, {worn}, {len(self.personas)} loaded)"

    def _wear_again(self, before: Outfit) -> None:
        """Return to what was worn before a block, as far as it is still there."""
        if not self._closed:
            with self._exclusively() as interrupts:
                again = before.names <= self._wardrobe.configs.keys()
                self._switch(before if again else _BASE, interrupts)

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
                if self._closed:
                    raise PersonaError("this PersonaModel is closed; attach a new one")
                yield interrupts
            finally:
                self._lock.release()

    def _switch(self, target: Outfit, interrupts: DeferredInterrupts) -> None:
        """Change what is worn, or return to the base and raise."""
        self._check_unmixed()
        try:
            if target.look:
                self._backend.wear(target.look, interrupts.deliver)
            else:
                self._backend.restore()
            self._outfit = target
            interrupts.deliver()
        except BaseException:
            self._outfit = _BASE
            self._backend.restore()
            raise


def _copies(model: Any, options: Mapping[str, Any]) -> int:
    """Return how many rows ``generate`` makes of each row of its batch."""
    config = options.get("generation_config") or model.generation_config
    chosen = (
        options.get(name, getattr(config, name, None))
        for name in ("num_beams", "num_return_sequences")
    )
    return max(each or 1 for each in chosen)


def _let_go(backend: Backend, sites: Sequence[Site]) -> None:
    """Return a model to its base when its PersonaModel is gone."""
    with DeferredInterrupts():
        backend.close()
        release(sites)
