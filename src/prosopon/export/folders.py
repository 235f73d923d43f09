"""Folders that are there as a whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prosopon.errors import ExportError, OptionError

PROVENANCE = "prosopon.json"
"""The file that says that and how a folder was exported."""


def check_output(folder: Path, force: bool) -> None:
    """Check that a folder may be written: only one that an export wrote is ever replaced."""
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: is a file, not a folder; give another --output")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not force:
        raise OptionError(
            f"{folder}: is not empty; give --force to replace it, or another --output"
        )
    if not (folder / PROVENANCE).is_file():
        raise OptionError(
            f"{folder}: holds no {PROVENANCE}, so no export wrote it, and --force would delete "
            "something else; give another --output"
        )


@contextmanager
def stage_folder(folder: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``folder`` that takes its place on success.

    The files are flushed to disk first. If the block raises, nothing is left of the new folder
    and what was there before stays. ``force`` replaces what an earlier export wrote there.
    """
    folder = folder.expanduser().resolve()  # a symbolic link stays, and its folder is replaced
    check_output(folder, force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        name = tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp")
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written: {error.strerror}") from error
    staging = Path(name)
    try:
        yield staging
        _settle(staging)
        check_output(folder, force)  # again: the block may have taken hours
        _replace(staging, folder)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _settle(folder: Path) -> None:
    """Flush every file to disk and give the folder the permissions that mkdir would give it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)


def _replace(staging: Path, folder: Path) -> None:
    """Move ``staging`` to ``folder``; an earlier export steps aside and returns on failure."""
    if not folder.is_dir() or not any(folder.iterdir()):
        if folder.is_dir():
            folder.rmdir()
        staging.rename(folder)
        return
    aside = staging.with_suffix(".old")
    folder.rename(aside)
    try:
        staging.rename(folder)
    except BaseException:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
