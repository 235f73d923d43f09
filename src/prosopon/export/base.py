"""What a format is: a function that writes one worn persona into an empty folder.

To add one, write a file with a pydantic model of options and a function
``write(job, folder) -> report`` and add a :class:`Format` to ``FORMATS``; the command line and
its help read everything from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from prosopon.errors import ExportError, OptionError
from prosopon.models import Site
from prosopon.registry import Registry
from prosopon.subnetwork import Subnetwork

if TYPE_CHECKING:
    from torch import Tensor

    from prosopon.runtime import PersonaModel


class FormatOptions(BaseModel):
    """Options of a format that has none, and the base of all others: unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Job:
    """What a format may look at."""

    wearer: PersonaModel  # attached to the base model, on the base, with the persona loaded
    persona: str  # its name in ``wearer``
    subnetwork: Subnetwork  # the masks at the strength asked for
    tokenizer: Any  # the model's; None if the caller has none
    base_model: str  # what the base model is called, for the files that name it
    revision: str | None  # its revision on the Hub
    options: Any  # an instance of the format's options

    @property
    def model(self) -> Any:
        """The live ``PreTrainedModel``; wears what :attr:`wearer` wears."""
        return self.wearer.model

    def change(self, site: Site, keep: Tensor) -> Tensor:
        """Return what the persona adds to a site's weight: float32 [out, in], on its device."""
        weight, compensation = site.matrix(), self.subnetwork.compensation
        if compensation is not None:
            from prosopon.runtime.compensation import compensated_matrix

            return compensated_matrix(site, keep, compensation).float() - weight.float()
        return torch.where(keep.to(weight.device), 0.0, -weight.float())

    def changed_sites(self) -> list[tuple[Site, Tensor]]:
        """Return the sites whose weights change, each with its bool [out, in] keep-mask (CPU)."""
        keep, compensated = self.subnetwork.keep, self.subnetwork.compensation is not None
        return [
            (site, keep[site.name])
            for site in self.wearer.sites
            if site.name in keep and (compensated or not bool(keep[site.name].all()))
        ]


@dataclass(frozen=True)
class Format:
    """A registered format.

    Attributes:
        name: Registry name.
        summary: One line for the help.
        loading: Lines of Python (or a shell command) that load the folder, for the card;
            ``{folder}`` and ``{base}`` are filled in.
        write: Writes a job into an empty folder and returns what there is to report, as JSON.
        options: Frozen pydantic model of its options.
        packages: Modules that it needs; all come with the extra ``export``.
        is_adapter: Whether the base model is needed to use the folder.
    """

    name: str
    summary: str
    loading: str
    write: Callable[[Job, Path], dict[str, Any]]
    options: type[FormatOptions] = FormatOptions
    packages: tuple[str, ...] = ()
    is_adapter: bool = False

    def parse_options(self, values: Mapping[str, Any]) -> Any:
        """Return an instance of the options; strings are converted, unknown ones refused."""
        fields = {key.replace("-", "_"): value for key, value in values.items()}
        try:
            return self.options.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key, choices = str(first["loc"][0]), ", ".join(self.options.model_fields) or "(none)"
            message = f"option {key}={first['input']!r}: {first['msg']}"
            if first["type"] == "extra_forbidden":
                message = f"format {self.name!r} has no option {key!r}; it has: {choices}"
            raise OptionError(message) from None

    def check_packages(self) -> None:
        """Refuse a format whose packages are not installed."""
        for package in self.packages:
            if find_spec(package) is None:
                raise ExportError(
                    f"format {self.name!r} needs {package}: pip install 'prosopon[export]'"
                )


FORMATS: Registry[Format] = Registry("format")
"""The formats that a persona can be exported to."""
