"""The errors that prosopon raises on purpose.

Each one names the thing, says why, and lists the choices where there are any. The command
line prints the message as one line and exits with code 2.
"""

import difflib
from collections.abc import Iterable


class ProsoponError(Exception):
    """Base of every error that is the input's fault rather than a bug."""


class DataError(ProsoponError):
    """A calibration file, row or data set that cannot be used; names file and line."""


class ModelError(ProsoponError):
    """A model that cannot be loaded, or whose weights cannot be used (NaN, quantised)."""


class SiteError(ProsoponError):
    """Sites that are missing, that no pattern matches, or that are not supported."""


class StatisticsError(ProsoponError):
    """Statistics that are empty, damaged, or do not belong together."""


class OptionError(ProsoponError):
    """An option outside its range, or a combination that has no meaning."""


class SubnetworkError(ProsoponError):
    """A subnetwork whose files are damaged or that belongs to another model."""


class PersonaError(ProsoponError):
    """A persona that is not loaded, or a switch that is not possible."""


class RankError(ProsoponError):
    """Processes of one run under torchrun that do not agree, or of which one has ended."""


class ExportError(ProsoponError):
    """A persona that a format cannot hold, or an exported folder that cannot be written."""


class ExperimentError(ProsoponError):
    """A folder of results that is damaged, belongs elsewhere or cannot be written; or no result."""


class JudgeError(ProsoponError):
    """A judge's endpoint that does not answer, an answer that is no verdict, or one not kept."""


class UnknownNameError(ProsoponError):
    """A name that a registry or a list does not hold; the message lists what it holds."""

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        ordered = sorted(choices)
        close = difflib.get_close_matches(name, ordered, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        names = ", ".join(ordered) or "(none)"
        super().__init__(f"unknown {kind} {name!r}.{hint} Choices: {names}")
        self.kind, self.name, self.choices = kind, name, ordered
