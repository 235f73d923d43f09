"""What is installed and what is missing, by the package's own metadata: for which command."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

NAME = "prosopon"


@dataclass(frozen=True)
class Need:
    """An extra that a command needs: always, or when the words say."""

    extra: str
    when: str = ""


NEEDS: Mapping[str, tuple[Need, ...]] = {
    "extract": (
        Need("gguf", "the model is a GGUF file"),
        Need("accelerate", "--sequential or --device-map"),
        Need("hub", "a persona is hf:org/name"),
    ),
    "chat": (Need("gguf", "the model is a GGUF file"), Need("accelerate", "--device-map")),
    "serve": (Need("serve"), Need("gguf", "the model is a GGUF file")),
    "evaluate": (Need("gguf", "the model is a GGUF file"),),
    "compare": (Need("compare"),),
    "sweep": (Need("tables", "results.parquet"), Need("plots", "--plots")),
    "reproduce": (Need("compare"),),
    "explain": (Need("plots"),),
    "export": (Need("export", "formats shira, lora, gguf"),),
    "lm-eval": (Need("lm-eval"),),
}
"""The extras of the commands; what is not here needs the package alone."""

APART = ("dev", "fuzz")
"""Extras for people who work on the package itself."""


@dataclass(frozen=True)
class Package:
    """A package, the versions that are wanted, and the one that is there (None: none)."""

    name: str
    wanted: str
    installed: str | None

    @property
    def is_right(self) -> bool:
        """Whether it is there in a version that is wanted."""
        if self.installed is None:
            return False
        return SpecifierSet(self.wanted).contains(self.installed, prereleases=True)

    @property
    def fault(self) -> str:
        """What is wrong with it, in a few words."""
        if self.installed is None:
            return f"{self.name} is missing"
        return f"{self.name} {self.installed} is not {self.wanted}"


def installed_as(name: str = NAME) -> tuple[str, str] | None:
    """Return the version that is installed and the Pythons it is for; None: not a package."""
    try:
        return version(name), (metadata(name).get_all("Requires-Python") or [""])[0]
    except PackageNotFoundError:
        return None


def read_requirements(name: str = NAME) -> dict[str, list[Package]]:
    """Return what the package needs, by extra; ``""`` is needed always.

    Extras of its own that an extra names are followed. Empty where it is not installed.
    """
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return {}
    parsed = list(_parse(lines))
    extras = metadata(name).get_all("Provides-Extra") or []
    return {extra: _of_extra(name, parsed, extra, set()) for extra in ("", *extras)}


def python_fits(wanted: str) -> bool:
    """Tell whether this Python is one of those that the package is for."""
    return SpecifierSet(wanted).contains(platform.python_version(), prereleases=True)


def faults(packages: Iterable[Package]) -> list[str]:
    """Return what is wrong with packages, each once."""
    return list(dict.fromkeys(package.fault for package in packages if not package.is_right))


def _parse(lines: Iterable[str]) -> Iterator[Requirement]:
    for line in lines:
        try:
            yield Requirement(line)
        except InvalidRequirement:
            continue


def _of_extra(
    name: str, requirements: list[Requirement], extra: str, seen: set[str]
) -> list[Package]:
    """Return the packages that an extra adds to what is needed always."""
    seen.add(extra)
    packages: dict[str, Package] = {}
    for requirement in requirements:
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always == bool(extra) or not (always or (marker and marker.evaluate({"extra": extra}))):
            continue
        if requirement.name == name:
            for inner in sorted(requirement.extras - seen):
                packages |= {p.name: p for p in _of_extra(name, requirements, inner, seen)}
        else:
            packages[requirement.name] = Package(
                requirement.name, str(requirement.specifier), _version(requirement.name)
            )
    return list(packages.values())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
