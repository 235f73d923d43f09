"""The Hugging Face Hub: searching for personas, fetching the folder of one, and uploading one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prosopon.errors import OptionError, SubnetworkError
from prosopon.files import atomic_path
from prosopon.hub import reason, unreachable
from prosopon.subnetwork.card import TAGS, model_card, slug
from prosopon.subnetwork.compensation import COMPENSATION_NAME
from prosopon.subnetwork.config import SubnetworkConfig, is_hub_id
from prosopon.subnetwork.evaluation import EVALUATION_NAME, Evaluation, write_evaluation
from prosopon.subnetwork.storage import CONFIG_NAME, MASKS_NAME

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

CARD_NAME = "README.md"
FILES = (MASKS_NAME, COMPENSATION_NAME, EVALUATION_NAME, CARD_NAME, CONFIG_NAME)
"""All that is ever fetched. The provenance comes last: without it no folder is a persona's."""


@dataclass(frozen=True)
class HubPersona:
    """A persona that the Hub lists.

    Attributes:
        id: Its name there, ``name/persona``.
        base_model: The model that it belongs to; empty where the card names none.
        tags: All tags of its card.
        downloads: In the last thirty days.
        likes: How many people like it.
        changed: Day of the last change, ISO 8601; empty where the Hub does not say.
        private: Whether only its owners see it.
    """

    id: str
    base_model: str
    tags: tuple[str, ...]
    downloads: int
    likes: int
    changed: str
    private: bool


def search(
    text: str = "",
    *,
    base_model: str | None = None,
    limit: int = 20,
    token: str | bool | None = None,
) -> list[HubPersona]:
    """List personas on the Hugging Face Hub, those with the most downloads first.

    Args:
        text: Part of the name, or a persona or criterion by its whole name; empty for all.
        base_model: Only those of this model, an id on the Hub.
        limit: At most so many.
        token: Token for the Hub; None takes the one that was logged in with, if any.

    Raises:
        SubnetworkError: The Hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    if why := unreachable():
        raise SubnetworkError(f"the Hugging Face Hub cannot be reached: {why}")
    tags = [*TAGS, *([f"base_model:{base_model}"] if base_model else [])]
    # The Hub looks for a text in names only.
    ways = [(text, tags)] + ([(None, [*tags, slug(text)])] if text else [])
    try:
        listed = [
            model
            for words, wanted in ways
            for model in HfApi(token=token).list_models(
                search=words or None, filter=wanted, sort="downloads", limit=limit, full=True
            )
        ]
    except Exception as error:  # whatever the library's HTTP client raises
        raise SubnetworkError(
            f"the Hugging Face Hub cannot be searched: {reason(error)}"
        ) from error
    rows = {model.id: _row(model) for model in listed}
    return sorted(rows.values(), key=lambda row: (-row.downloads, row.id))[:limit]


def _row(model: ModelInfo) -> HubPersona:
    tags = tuple(dict.fromkeys(model.tags or ()))
    bases = [tag.removeprefix("base_model:") for tag in tags if tag.startswith("base_model:")]
    plain = [base for base in bases if ":" not in base]  # the others name the relation too
    return HubPersona(
        model.id,
        (plain or [base.partition(":")[2] for base in bases] or [""])[0],
        tags,
        model.downloads or 0,
        model.likes or 0,
        model.last_modified.date().isoformat() if model.last_modified else "",
        bool(model.private),
    )


def download(repo_id: str, *, revision: str | None = None, token: str | bool | None = None) -> Path:
    """Fetch the files of a persona from the Hugging Face Hub; return the folder they lie in.

    Only files of a subnetwork's folder are fetched, whatever else is there. What was fetched
    before is taken from the cache of huggingface_hub where the Hub cannot be reached.

    Raises:
        OptionError: ``repo_id`` is no id on the Hub.
        SubnetworkError: The Hub cannot be reached, does not have it or does not show it, or it
            holds no persona.
    """
    if not is_hub_id(repo_id):
        raise OptionError(f"{repo_id}: no id on the Hub; write it as name/persona")
    from huggingface_hub import snapshot_download

    away = unreachable()
    try:
        place = snapshot_download(
            repo_id,
            revision=revision,
            token=token,
            local_files_only=away is not None,
            allow_patterns=list(FILES),
        )
    except Exception as error:  # whatever the library's HTTP client raises
        raise SubnetworkError(f"{repo_id}: {_why(error, away, revision)}") from error
    folder = Path(str(place))
    if not (folder / CONFIG_NAME).is_file():
        raise SubnetworkError(
            f"{repo_id}: holds no persona: there is no {CONFIG_NAME} in it. A model is loaded "
            "with --model, and prosopon search lists personas"
        )
    return folder


def copy(place: Path, folder: Path) -> None:
    """Copy the files of a persona; until the last is there, the folder is no persona's.

    Files of an earlier persona in ``folder`` go; anything else there stays.

    Raises:
        SubnetworkError: The folder cannot be written.
    """
    try:
        (folder / CONFIG_NAME).unlink(missing_ok=True)
        for name in FILES:
            if (place / name).is_file():
                with atomic_path(folder / name) as temporary:
                    shutil.copyfile(place / name, temporary)
            else:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise SubnetworkError(f"{folder}: cannot be written: {error.strerror}") from error


def _why(error: Exception, away: str | None, revision: str | None) -> str:
    """Say why nothing was fetched, and what to do about it."""
    from huggingface_hub import errors

    if away:
        return f"from the Hugging Face Hub it cannot be had, and it was not fetched before: {away}"
    if isinstance(error, errors.GatedRepoError):
        return (
            "from the Hugging Face Hub it cannot be had without the owner's leave: ask for it on "
            "its page there, then log in with: hf auth login"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            "from the Hugging Face Hub it cannot be had: there is no such repository, or it is "
            "private: check the name (prosopon search lists personas), or log in with: "
            "hf auth login"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"from the Hugging Face Hub it cannot be had: it has no revision {revision!r}"
    return f"from the Hugging Face Hub it cannot be had: {reason(error)}"


def local_folder(
    source: str | Path, *, revision: str | None = None, token: str | bool | None = None
) -> Path:
    """Return the folder of a subnetwork, downloading its files if it is on the Hub.

    A string that is no folder and reads like ``name/persona`` is a Hub id.
    """
    path = Path(source)
    if isinstance(source, Path) or path.exists() or not is_hub_id(source):
        return path
    try:
        return download(source, revision=revision, token=token)
    except SubnetworkError as error:
        text = str(error).removeprefix(f"{source}: ")
        raise SubnetworkError(f"{source}: no such folder, and {text}") from error


def upload(
    folder: Path,
    repo_id: str,
    config: SubnetworkConfig,
    evaluation: Evaluation | None = None,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    message: str | None = None,
) -> str:
    """Commit the files of a folder and a model card to the Hub, and return the commit's address."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=token)
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if evaluation:
            write_evaluation(folder, evaluation)
        (folder / CARD_NAME).write_text(model_card(config, repo_id, evaluation), "utf-8")
        commit = api.create_commit(
            repo_id,
            [CommitOperationAdd(path.name, path) for path in sorted(folder.iterdir())],
            commit_message=message or f"Upload the persona {config.persona}",
        )
    except Exception as error:  # whatever the library's HTTP client raises
        raise SubnetworkError(
            f"{repo_id}: cannot be uploaded to the Hugging Face Hub: {reason(error)}"
        ) from error
    return str(commit.commit_url)
