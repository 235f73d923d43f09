"""The harness's model ``prosopon``: a Hugging Face model that wears a persona."""

from pathlib import Path
from typing import Any, Self

from lm_eval.models.huggingface import HFLM

from prosopon.errors import ModelError, OptionError
from prosopon.models import EMBEDDED, SMOLLM2, resolve_source
from prosopon.models.gguf import gguf_file
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork


class PersonaLM(HFLM):  # type: ignore[misc]
    """The harness's ``hf`` model with a persona: the same requests, scores and options.

    Only causal models; the harness's own option ``backend`` (causal or seq2seq) makes room for
    that of :class:`~prosopon.runtime.PersonaModel`. As a context manager, or with
    :meth:`close`, it gives a model that it was handed back as it was, bit for bit.

    Args:
        pretrained: ``embedded``, a folder, a Hub id, or a loaded model (then with ``tokenizer``).
        persona: Folder or Hub id of a subnetwork, or one in memory; None is the base model.
        strength: Share of the persona's ranking that is pruned, in [0, 1].
        gamma: Gate of the pruned weights, in [0, 1]; 1 is the base model.
        backend: ``inplace`` or ``functional``.
        options: Whatever else the harness's ``hf`` model takes.

    Attributes:
        wearing: The :class:`~prosopon.runtime.PersonaModel`; None without a persona.

    Raises:
        ModelError: The model cannot be found, or its weights cannot be used.
        SubnetworkError: There is no such persona, it is damaged or made for another model.
        OptionError: A strength, gamma or backend that cannot be, or one without a persona.
    """

    wearing: PersonaModel | None = None

    def __init__(
        self,
        pretrained: Any,
        persona: str | Path | Subnetwork | None = None,
        strength: float = 1.0,
        gamma: float = 0.0,
        backend: str = "inplace",
        **options: Any,
    ) -> None:
        worn = {"strength": _number("strength", strength), "gamma": _number("gamma", gamma)}
        if persona is None and (strength, gamma, backend) != (1.0, 0.0, "inplace"):
            raise OptionError(
                "strength, gamma and backend belong to a persona; persona=... names it"
            )
        # Read before the model, which takes longer.
        subnetwork = None if persona is None else _subnetwork(persona)
        _load(super().__init__, pretrained, options)
        if subnetwork is None:
            return
        self.wearing = PersonaModel(self.model, self.tokenizer, backend=backend)
        try:
            self.wearing.set_persona(self.wearing.load_persona(subnetwork), **worn)
        except BaseException:
            self.close()
            raise

    def get_model_info(self) -> dict[str, Any]:
        """Return what the harness writes beside its results, the persona among it."""
        info: dict[str, Any] = super().get_model_info()
        name = None if self.wearing is None else self.wearing.active
        info["persona"] = name
        if self.wearing is not None and name is not None:
            config = self.wearing.config(name)
            info |= {
                "persona_criterion": config.criterion,
                "persona_strength": self.wearing.strength,
                "persona_gamma": self.wearing.gamma,
            }
        return info

    def close(self) -> None:
        """Take the persona off for good: the model is the base model again. Again does nothing."""
        if self.wearing is not None:
            self.wearing.close()
            self.wearing = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _load(load: Any, pretrained: Any, options: dict[str, Any]) -> None:
    """Let the harness load the model."""
    source = pretrained
    if isinstance(pretrained, str | int | Path):
        # The harness makes numbers of whatever looks like one, folder names too.
        source = str(pretrained)
        if source in (EMBEDDED, SMOLLM2) or gguf_file(Path(source)):
            source = resolve_source(source)
    try:
        load(pretrained=source, backend="causal", **options)
    except OSError as error:  # what transformers makes of everything it cannot find
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise ModelError(f"cannot load model {source!r}: {reason.strip()}") from error


def _subnetwork(persona: str | Path | Subnetwork) -> Subnetwork:
    if isinstance(persona, Subnetwork):
        return persona
    return Subnetwork.from_pretrained(persona if isinstance(persona, Path) else str(persona))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"{name} is a number between 0 and 1, not {value!r}")
    return float(value)
