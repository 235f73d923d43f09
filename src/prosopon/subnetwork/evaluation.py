"""What was measured of a persona, in a file beside its mask; the model card shows it as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, NonNegativeInt, ValidationError

from prosopon.errors import SubnetworkError
from prosopon.files import write_json
from prosopon.subnetwork.config import FrozenModel, first_error

EVALUATION_NAME = "evaluation.json"
"""The file of what was measured."""

FORMAT_VERSION: Final = 1
_AGAIN = "evaluate again, or delete the file"


class MeasureRecord(FrozenModel):
    """One figure."""

    task: str  # whose questions were asked
    measure: str  # what of the answers was measured
    mean: float = Field(allow_inf_nan=False)  # over questions
    low: float = Field(allow_inf_nan=False)  # where its 95% interval begins
    high: float = Field(allow_inf_nan=False)  # where that ends
    questions: NonNegativeInt  # how many there were


class Evaluation(FrozenModel):
    """The contents of ``evaluation.json``."""

    format_version: Literal[1] = FORMAT_VERSION
    checksum: str  # SHA-256 of the file of the masks that were worn
    persona: str  # whose questions were asked
    opposite: str  # and against whom
    base_model: str  # the model that wore it
    measures: tuple[MeasureRecord, ...]  # of the mask
    base: tuple[MeasureRecord, ...] = ()  # of the base on the same questions, where it was asked


def read_evaluation(folder: str | Path) -> Evaluation | None:
    """Read what :func:`write_evaluation` wrote; None where there is no such file.

    Raises:
        SubnetworkError: The file is damaged or of another version.
    """
    path = Path(folder) / EVALUATION_NAME
    if not path.is_file():
        return None
    try:
        return Evaluation.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        raise SubnetworkError(f"{path}: {first_error(error)}; {_AGAIN}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SubnetworkError(f"{path}: cannot be read: {error}; {_AGAIN}") from None


def write_evaluation(folder: str | Path, evaluation: Evaluation) -> Path:
    """Write figures into a folder and return their file."""
    path = Path(folder) / EVALUATION_NAME
    write_json(path, evaluation.model_dump(mode="json"))
    return path
