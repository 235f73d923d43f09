"""The persona model: one resident base model that wears one persona at a time."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

from torch import nn

from prosopon.errors import OptionError, PersonaError, ProsoponError, UnknownNameError
from prosopon.models import Site, check_finite, find_sites
from prosopon.runtime.attachment import claim, release
from prosopon.runtime.backends import BACKENDS, Backend
from prosopon.runtime.interrupts import DeferredInterrupts
from prosopon.runtime.matching import check_belongs
from prosopon.subnetwork import Subnetwork, SubnetworkConfig


class _Worn(NamedTuple):
    name: str | None
    gamma: float


_BASE = _Worn(None, 1.0)


class PersonaModel:
    """Wears persona subnetworks on a model and always finds back to the base, bit for bit.

    A call that changes what is worn either succeeds, or is refused (a
    :class:`~prosopon.errors.ProsoponError`: nothing has changed), or is broken off by another
    exception or Ctrl-C: then the base model is back before the exception arrives. Between
    calls what :attr:`active` and :attr:`gamma` say is what the weights are.

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
        self._configs: dict[str, SubnetworkConfig] = {}
        self._worn = _BASE
        self._closed = False
        self._lock = threading.Lock()
        # Dropped without close(): give the weights back all the same.
        self._finalizer = weakref.finalize(self, _let_go, self._backend, self.sites)
        self._finalizer.atexit = False

    @property
    def personas(self) -> list[str]:
        """Names of the loaded personas, sorted."""
        return sorted(self._configs)

    @property
    def active(self) -> str | None:
        """Name of the persona that is worn; None for the base model."""
        return self._worn.name

    @property
    def gamma(self) -> float:
        """Gate of the pruned weights: 0 for the hard mask, 1 for the base model."""
        return self._worn.gamma

    def config(self, name: str) -> SubnetworkConfig:
        """Return the provenance of a loaded persona.

        Raises:
            UnknownNameError: It is not loaded.
        """
        self._check_loaded(name)
        return self._configs[name]

    def load_persona(self, source: str | Path | Subnetwork, name: str | None = None) -> str:
        """Load a persona without wearing it.

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
        check_belongs(source, self.sites)
        with self._exclusively():
            if name in self._configs:
                raise PersonaError(
                    f"persona {name!r} is loaded already; unload it first, or give another name"
                )
            self._backend.load(name, source.keep)
            self._configs[name] = source.config
        return name

    def unload_persona(self, name: str) -> None:
        """Forget a persona; if it is worn, the base model comes back first.

        Raises:
            UnknownNameError: It is not loaded.
            PersonaError: A switch is under way, or the model is closed.
        """
        with self._exclusively() as interrupts:
            self._check_loaded(name)
            if name == self._worn.name:
                self._switch(_BASE, interrupts)
            del self._configs[name]
            self._backend.unload(name)

    def set_persona(self, name: str | None, *, gamma: float = 0.0) -> None:
        """Wear a persona, instead of whatever is worn.

        Args:
            name: A loaded persona; None for the base model.
            gamma: Soft gate in [0, 1]: a pruned weight w counts as w * gamma. 0 is the hard
                mask, 1 exactly the base model.

        Raises:
            UnknownNameError: The persona is not loaded.
            OptionError: ``gamma`` is outside [0, 1].
            PersonaError: A switch is under way, or the model is closed.
        """
        if not 0.0 <= gamma <= 1.0:
            raise OptionError(f"gamma {gamma}: must lie between 0 and 1")
        with self._exclusively() as interrupts:
            if name is not None:
                self._check_loaded(name)
            self._switch(_BASE if name is None else _Worn(name, float(gamma)), interrupts)

    @contextmanager
    def persona(self, name: str | None, *, gamma: float = 0.0) -> Iterator[Self]:
        """Wear a persona inside a with block.

        Afterwards, also after an exception, what was worn before is worn again; the base model
        if that persona has been unloaded inside the block.

        Args:
            name: See :meth:`set_persona`.
            gamma: See :meth:`set_persona`.

        Raises:
            ProsoponError: See :meth:`set_persona`.
        """
        before, refused = self._worn, False
        try:
            try:
                self.set_persona(name, gamma=gamma)
            except ProsoponError:
                refused = True  # nothing has changed, so there is nothing to undo
                raise
            yield self
        finally:
            if not refused and not self._closed:
                again = before if before.name in self._configs else _BASE
                self.set_persona(again.name, gamma=again.gamma)

    def disable(self) -> None:
        """Return to the base model.

        Raises:
            PersonaError: A switch is under way, or the model is closed.
        """
        self.set_persona(None)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Call ``model.generate`` as the persona that is worn."""
        return cast(Any, self.model).generate(*args, **kwargs)

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
            self._worn = _BASE
            self._backend.close()
            release(self.sites)
            self._finalizer.detach()
            self._configs.clear()
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
        return f"PersonaModel({type(self.model).__name__}, {worn}, {len(self._configs)} loaded)"

    def _check_loaded(self, name: str) -> None:
        if name not in self._configs:
            raise UnknownNameError("persona", name, self._configs)

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

    def _switch(self, target: _Worn, interrupts: DeferredInterrupts) -> None:
        """Change what is worn, or return to the base and raise."""
        try:
            if target.name is None:
                self._backend.restore()
            else:
                self._backend.wear(target.name, target.gamma, interrupts.deliver)
            self._worn = target
            interrupts.deliver()
        except BaseException:
            self._worn = _BASE
            self._backend.restore()
            raise


def _let_go(backend: Backend, sites: Sequence[Site]) -> None:
    """Return a model to its base when its PersonaModel is gone."""
    with DeferredInterrupts():
        backend.close()
        release(sites)
