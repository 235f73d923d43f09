"""The Hugging Face Hub: fetching the folder of a subnetwork, and uploading one."""

from pathlib import Path

from prosopon.errors import SubnetworkError
from prosopon.hub import reason, unreachable
from prosopon.subnetwork.card import model_card
from prosopon.subnetwork.compensation import COMPENSATION_NAME
from prosopon.subnetwork.config import SubnetworkConfig, is_hub_id
from prosopon.subnetwork.storage import CONFIG_NAME, MASKS_NAME


def local_folder(
    source: str | Path, *, revision: str | None = None, token: str | bool | None = None
) -> Path:
    """Return the folder of a subnetwork, downloading its files if it is on the Hub.

    A string that is no folder and reads like ``name/persona`` is a Hub id.
    """
    path = Path(source)
    if isinstance(source, Path) or path.exists() or not is_hub_id(source):
        return path
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            source,
            revision=revision,
            token=token,
            local_files_only=unreachable() is not None,
            allow_patterns=[CONFIG_NAME, MASKS_NAME, COMPENSATION_NAME],
        )
    except Exception as error:  # whatever the library's HTTP client raises
        raise SubnetworkError(
            f"{source}: no such folder, and from the Hugging Face Hub it cannot be had: "
            f"{reason(error)}"
        ) from error
    return Path(str(folder))


def upload(
    folder: Path,
    repo_id: str,
    config: SubnetworkConfig,
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
        (folder / "README.md").write_text(model_card(config, repo_id), "utf-8")
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
