"""The persona model: one resident base model that wears personas, blends and mixed batches."""

import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, Self, Unpack, cast, overload

from torch import nn

from prosopon.data import Message
from prosopon.errors import OptionError
from prosopon.runtime.activation import Activate, Since, check_activate, check_generation, of_rows
from prosopon.runtime.backends import choose_backend
from prosopon.runtime.conversation import (
    NO_TEMPLATE,
    Draw,
    DrawOptions,
    Messages,
    as_prompt,
    fit_turns,
    has_turns,
    stream_answer,
    write_answer,
)
from prosopon.runtime.dresser import Dresser, let_go
from prosopon.runtime.looks import BlendMode, Wardrobe, Wearable
from prosopon.runtime.mixed import check_rows
from prosopon.subnetwork import Subnetwork, SubnetworkConfig


class PersonaModel:
    """Wears persona subnetworks on a model and always finds back to the base, bit for bit.

    A call that changes what is worn either succeeds, or is refused (a
    :class:`~prosopon.errors.ProsoponError`: nothing has changed), or is broken off by another
    exception or Ctrl-C: then the base model is back before the exception arrives. Between
    calls what :attr:`active`, :attr:`gamma`, :attr:`strength` and :attr:`blend` say is what the
    weights are.

    Rows of one batch can wear different personas: :meth:`mixed`.

    An answer is of one persona, whatever other threads do: two threads that switch at once, or a
    switch while an answer is written, get a :class:`~prosopon.errors.PersonaError`; and so does
    a forward pass during which another thread switched. ``model.save_pretrained`` is refused
    while a persona is worn.

    Example::

        from prosopon import PersonaModel, load_model

        loaded = load_model("embedded")
        with PersonaModel(loaded.model, loaded.tokenizer) as model:
            name = model.load_persona("masks/extravert")
            print(model.answer("What do you do on a free evening?", persona=name))
            print(model.answer("What do you do on a free evening?"))  # the base model

    Use it as a context manager, or call :meth:`close`, to have the base model back for sure.

    Args:
        model: A causal language model. No other PersonaModel may be attached to it.
        tokenizer: Its tokenizer, which :meth:`chat` and :meth:`answer` need.
        backend: ``inplace``; or ``correction`` (corrects outputs) or ``functional`` (slow), which
            never write a weight. Default ``inplace``; ``correction`` where one is quantised.
        targets: Patterns of the sites to manage; default all.
        ignore: Patterns of sites to leave alone.
        quantised_from: Of a quantised model, the name of the base that it is a copy of, as the
            personas call it; see :func:`~prosopon.runtime.membership.check_belongs`.

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
        backend: str | None = None,
        targets: Sequence[str] | None = None,
        ignore: Sequence[str] = (),
        quantised_from: str | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.sites, factory = choose_backend(backend, model, targets, ignore)
        self._dresser = Dresser(model, self.sites, factory, quantised_from)
        self._has_warned = False
        # Dropped without close(): give the weights back all the same.
        self._finalizer = weakref.finalize(
            self, let_go, self._dresser.backend, self._dresser.guard, self.sites
        )
        self._finalizer.atexit = False

    @property
    def personas(self) -> list[str]:
        """Names of the loaded personas, sorted."""
        return sorted(self._dresser.wardrobe.configs)

    @property
    def wardrobe(self) -> Wardrobe:
        """What is loaded, and what a request for some of it means; to read."""
        return self._dresser.wardrobe

    @property
    def active(self) -> str | None:
        """What is worn: a persona's name, a blend in words; None for the base model."""
        return self._dresser.outfit.title

    @property
    def gamma(self) -> float:
        """Gate of the worn persona's weights: 0 for the hard mask, 1 for the base model."""
        return self._dresser.outfit.gamma

    @property
    def strength(self) -> float:
        """Share of the worn persona's ranking that is pruned; 1 is the whole mask."""
        return self._dresser.outfit.strength

    @property
    def blend(self) -> dict[str, float] | None:
        """Weights of the worn blend by persona; None if none is worn."""
        return None if self._dresser.outfit.blend is None else dict(self._dresser.outfit.blend)

    def config(self, name: str) -> SubnetworkConfig:
        """Return the provenance of a loaded persona.

        Raises:
            UnknownNameError: It is not loaded.
        """
        self._dresser.wardrobe.check(name)
        return self._dresser.wardrobe.configs[name]

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
        self._dresser.load(name, source)
        return name

    def unload_persona(self, name: str) -> None:
        """Forget a persona; if it is worn, also in a blend, the base model comes back first."""
        self._dresser.unload(name)

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
        self._dresser.wear(lambda wardrobe: wardrobe.single(name, gamma, strength))

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
        self._dresser.wear(lambda wardrobe: wardrobe.blend(weights, mode))

    @contextmanager
    def persona(
        self, name: str | None, *, gamma: float = 0.0, strength: float = 1.0
    ) -> Iterator[Self]:
        """Wear a persona inside a with block; arguments and errors as for :meth:`set_persona`.

        Afterwards, also after an exception, what was worn before is worn again; the base model
        if a persona of it has been unloaded inside the block.
        """
        with self._dresser.wearing(lambda wardrobe: wardrobe.single(name, gamma, strength)):
            yield self

    @contextmanager
    def mixed(
        self, rows: Sequence[Wearable], *, copies: int | None = 1,
        activate: Activate | Sequence[Since] = "prompt",
    ) -> Iterator[Self]:  # fmt: skip
        """Let every row of a batch wear a persona of its own inside a with block.

        The weights are those of the base meanwhile: a forward pass computes all rows at once
        and then takes off, row by row, what the row's persona prunes. That costs a
        multiplication and 8 bytes for every pruned weight and row, so it is for light masks.
        Afterwards what was worn before is worn again.

        Args:
            rows: For every row of the batch a persona's name, a blend as weights by name (see
                :meth:`set_blend`), or None for the base model.
            copies: How many rows of the batch stand for each of these, beside each other, as
                the beams of a generation do; None for as many as the batch has.
            activate: ``prompt`` wears from the first token on; ``answer`` from the prompt's last
                one on, so that the keys and values before it are the base's. Inside the block
                whatever is read without a cache is a prompt, all the rest an answer. Or one of
                both for each row, or the column that it is worn from, padding counted.

        Raises:
            UnknownNameError: A persona is not loaded.
            OptionError: No rows, ``copies`` below 1, or ``activate`` of another number of rows.
            PersonaError: A persona prunes experts that are modules of their own; the model keeps
                no cache for ``answer``; a switch or another mixed batch is under way; the model
                is closed; or, from the forward pass, the batch has another number of rows.
        """
        with self._dresser.mixing(rows, copies, of_rows(activate, len(rows))):
            yield self

    def disable(self) -> None:
        """Return to the base model; errors as for :meth:`set_persona`."""
        self.set_persona(None)

    def generate(
        self, *args: Any, personas: Sequence[Wearable] | None = None,
        activate: Activate = "prompt", **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Call ``model.generate`` as the persona that is worn, or as one for every row.

        Args:
            args: For ``model.generate``.
            personas: What each row of the batch wears, see :meth:`mixed`; beams and several
                returned sequences of a row wear what it wears. Greedily, every row gets the
                tokens that it gets with its persona alone, as far as rounding does not decide
                between two tokens.
            activate: See :meth:`mixed`; ``answer`` needs ``personas``.
            kwargs: For ``model.generate``.

        Raises:
            ProsoponError: See :meth:`mixed`.
        """
        model = cast(Any, self.model)
        if activate != "prompt":
            check_generation(kwargs)
        if personas is None:
            _check_named(activate, "personas: name one for every row")
            return model.generate(*args, **kwargs)
        check_rows(personas, args, kwargs)
        # The model's own settings and those given here decide on the beams between them.
        with self.mixed(personas, copies=None, activate=activate):
            return model.generate(*args, **kwargs)

    @overload
    def chat(
        self,
        messages: Messages,
        persona: str | None = None,
        strength: float | None = None,
        *,
        activate: Activate = "prompt",
        stream: Literal[False] = False,
        **draw: Unpack[DrawOptions],
    ) -> str: ...

    @overload
    def chat(
        self,
        messages: Messages,
        persona: str | None = None,
        strength: float | None = None,
        *,
        activate: Activate = "prompt",
        stream: Literal[True],
        **draw: Unpack[DrawOptions],
    ) -> Iterator[str]: ...

    def chat(
        self,
        messages: Messages,
        persona: str | None = None,
        strength: float | None = None,
        *,
        activate: Activate = "prompt",
        stream: bool = False,
        **draw: Unpack[DrawOptions],
    ) -> str | Iterator[str]:
        """Answer a conversation, as the persona that is worn or as one for this answer.

        Where the model's context is full, the oldest turns are left out; a system line stays.
        Without a chat template the model goes on from the plain text of the messages, and a
        warning says so.

        Example::

            hello = {"role": "user", "content": "Hello"}
            for piece in model.chat([hello], persona="extravert", stream=True):
                print(piece, end="", flush=True)

        Args:
            messages: The turns, such as ``{"role": "user", "content": "Hello"}``; the last one is
                the user's.
            persona: A loaded persona for this answer; None for what is worn.
            strength: Share of that persona's ranking; default all of it.
            activate: ``answer`` wears that persona from the prompt's last token on: what was
                said before, its own answers too, is read by the base. See :meth:`mixed`.
            stream: Return the answer in pieces as it is written. The persona is worn from the
                first piece to the last, and switches are refused meanwhile; close the iterator
                to end it early.
            draw: ``max_new_tokens``, most tokens of the answer (default 128); ``temperature``,
                of sampling from the whole distribution (1.0; 0 is greedy); and ``seed`` of the
                draws (0): the same seed gives the same answer.

        Returns:
            The answer, white space trimmed; or an iterator of pieces that make it up.

        Raises:
            OptionError: There is no tokenizer, no message, or a strength without a persona; or
                the last message alone does not fit into the context.
            DataError: The messages are no conversation that the model's template takes.
            ProsoponError: See :meth:`set_persona`.
        """
        if strength is not None and persona is None:
            raise OptionError("strength belongs to a persona: name one, or set_persona(...) before")
        if persona is None:
            _check_named(activate, "a persona: name one")
        settings = Draw(**draw)
        messages = fit_turns(messages, self.model, self.tokenizer, settings.max_new_tokens)
        prompt = as_prompt(messages, self.tokenizer)
        if not has_turns(self.tokenizer) and not self._has_warned:
            warnings.warn(NO_TEMPLATE, stacklevel=2)
            self._has_warned = True
        share = 1.0 if strength is None else strength
        if stream:
            return self._stream(prompt, persona, share, activate, settings)
        with self._answering(persona, share, activate) as check:
            reply = write_answer(self.model, self.tokenizer, prompt, settings)
            check()
        return reply

    def answer(self, text: str, *, system: str | None = None, **options: Any) -> str:
        """Answer one text; see :meth:`chat`.

        Args:
            text: What the user says.
            system: A system line before it.
            options: ``persona``, ``strength``, ``activate``, ``max_new_tokens``, ``temperature``
                and ``seed`` of :meth:`chat`.

        Raises:
            ProsoponError: See :meth:`chat`.
        """
        turns = [Message("system", system)] if system else []
        reply: str = self.chat([*turns, Message("user", text)], **options)
        return reply

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model as the persona that is worn."""
        return self.model(*args, **kwargs)

    def close(self) -> None:
        """Return to the base model, forget all personas and let the model go.

        Everything but reading attributes fails afterwards; closing again does nothing.

        Raises:
            PersonaError: A switch is under way.
        """
        self._dresser.close()
        self._finalizer.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _answering(
        self, persona: str | None, strength: float, activate: Activate
    ) -> Iterator[Callable[[], None]]:
        """Wear a persona for an answer; yield what raises if another switch came between."""
        if persona is None:
            worn: AbstractContextManager[Any] = nullcontext()
        elif activate == "prompt":
            worn = self.persona(persona, strength=strength)
        else:
            self.wardrobe.single(persona, 0.0, strength)  # can be worn so
            row = persona if strength == 1.0 else {persona: strength}
            worn = self.mixed([row], activate=activate)
        with worn, self._dresser.guard.answering() as check:
            yield check

    def _stream(
        self, prompt: list[Message], persona: str | None, strength: float, activate: Activate,
        draw: Draw,
    ) -> Iterator[str]:  # fmt: skip
        """Wear, write and undo, all while the pieces are taken."""
        with self._answering(persona, strength, activate) as check:
            for piece in stream_answer(self.model, self.tokenizer, prompt, draw):
                check()
                yield piece
                check()

    def __repr__(self) -> str:
        worn = "base" if self.active is None else f"{self.active!r}, gamma={self.gamma:g}"
        worn += f", strength={self.strength:g}" if self.strength < 1.0 else ""
        return f"PersonaModel({type(self.model).__name__}, {worn}, {len(self.personas)} loaded)"


def _check_named(activate: Activate, needed: str) -> None:
    check_activate(activate)
    if activate != "prompt":
        raise OptionError(f"activate={activate!r} belongs to {needed}")
