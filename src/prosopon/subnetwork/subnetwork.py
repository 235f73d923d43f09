"""The subnetwork: which weights a persona keeps, and where that is known from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import hub
from prosopon.subnetwork.compensation import COMPENSATION_NAME, Compensation
from prosopon.subnetwork.config import (
    FORMAT_VERSION,
    STEPS,
    SubnetworkConfig,
    portable_name,
    site_records,
)
from prosopon.subnetwork.encodings import ENCODINGS, Encoding, Masks
from prosopon.subnetwork.evaluation import EVALUATION_NAME, Evaluation, read_evaluation
from prosopon.subnetwork.format import pack_rows
from prosopon.subnetwork.storage import read_folder, write_folder

if TYPE_CHECKING:
    from torch import Tensor


class Subnetwork:
    """The keep-masks of one persona, with their provenance.

    Example::

        from prosopon import Subnetwork, extract, load_model

        model, tokenizer, _ = load_model("embedded")
        mask = extract(
            model, tokenizer, target="extravert", opposite="introvert",
            criterion="contrastive-wanda",
        )
        mask.save_pretrained("masks/extravert")
        print(Subnetwork.from_pretrained("masks/extravert"))

    Two subnetworks are equal if they have the same masks and levels, whatever their provenance
    says; since masks can change, they have no hash.

    Args:
        keep: Bool [out, in] of every site, True where the weight is kept. Moved to the CPU;
            not copied if there already.
        config: The provenance. An empty ``sites`` is filled in; ``ranked`` is set.
        levels: The ranking of the pruned weights, where there is one: for every site uint8
            [pruned], in row-major order of its pruned weights. A weight of level l is pruned at
            every strength above l / 256, so the masks of all strengths are nested.

    Attributes:
        keep: The masks, on the CPU.
        config: The provenance.
        levels: The ranking, on the CPU; None if there is none.
        compensation: New values of the kept weights, where the criterion computed any; None
            otherwise. It is written beside the masks, worn with them and exported with them; None
            leaves the kept weights as they are.

    Raises:
        SubnetworkError: There is no site, a mask is not a bool matrix, ``config.sites``
            describes other masks, or the levels do not fit the masks.
    """

    def __init__(
        self,
        keep: Mapping[str, Tensor],
        config: SubnetworkConfig,
        levels: Mapping[str, Tensor] | None = None,
    ) -> None:
        if not keep:
            raise SubnetworkError(f"subnetwork {config.persona!r} has no site")
        for name, mask in keep.items():
            if mask.dtype != torch.bool or mask.ndim != 2 or not mask.numel():
                raise SubnetworkError(
                    f"the mask of site {name!r} must be a bool matrix [out, in], not "
                    f"{str(mask.dtype).removeprefix('torch.')} {list(mask.shape)}"
                )
        self.keep = {name: mask.cpu() for name, mask in keep.items()}
        records = site_records(self.keep)
        if config.sites and config.sites != records:
            names = [*records, *config.sites]
            odd = next(name for name in names if records.get(name) != config.sites.get(name))
            raise SubnetworkError(
                f"subnetwork {config.persona!r}: its config describes another mask of {odd!r}"
            )
        ranked = levels is not None
        # A version without rankings cannot describe one.
        version = FORMAT_VERSION if ranked else config.format_version
        self.config = config.model_copy(
            update={"sites": records, "ranked": ranked, "format_version": version}
        )
        self.levels = None if levels is None else self._check_levels(levels)
        self.compensation: Compensation | None = None
        self._folder: Path | None = None  # where it was last read from or written to

    @property
    def base_model(self) -> str:
        """The model that it was found on: ``embedded``, a Hub id, or a folder."""
        return self.config.base_model

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, in the order of the masks."""
        return tuple(self.keep)

    @property
    def pruned(self) -> int:
        """How many weights are pruned."""
        return sum(record.pruned for record in self.config.sites.values())

    @property
    def total(self) -> int:
        """How many weights the sites have."""
        return sum(mask.numel() for mask in self.keep.values())

    @property
    def pruned_share(self) -> float:
        """Share of the sites' weights that are pruned, from 0 to 1."""
        return self.pruned / self.total

    def at_strength(self, strength: float) -> Subnetwork:
        """Return the part that is pruned at a strength: a nested prefix of the ranking.

        Strength 0 prunes nothing and 1 everything; of two strengths, the lower prunes a subset.
        ``a.at_strength(s).at_strength(t)`` is ``a.at_strength(min(s, t))``. The provenance
        notes the strength among the options.

        Raises:
            SubnetworkError: The pruned weights are not ranked, ``strength`` is outside [0, 1], or
                the subnetwork has a compensation, which belongs to the whole mask.
        """
        if self.compensation is not None:
            raise SubnetworkError(
                f"subnetwork {self.config.persona!r} has one strength only: the new values of its "
                "kept weights belong to the whole mask (set compensation to None to leave them out)"
            )
        if self.levels is None:
            raise SubnetworkError(
                f"subnetwork {self.config.persona!r} has one strength only: its pruned weights "
                "are not ranked"
            )
        if not 0.0 <= strength <= 1.0:
            raise SubnetworkError(f"strength {strength}: must lie between 0 and 1")
        keep, levels = {}, {}
        for name, mask in self.keep.items():
            pruned = self.levels[name].double() / STEPS < strength
            keep[name], levels[name] = mask.clone(), self.levels[name][pruned]
            keep[name][~mask] = ~pruned
        before = float(self.config.options.get("strength", 1.0))
        changes = {
            "options": self.config.options | {"strength": min(strength, before)},
            "sites": {},
            "checksum": "",
        }
        return Subnetwork(keep, self.config.model_copy(update=changes), levels)

    def content_hash(self) -> str:
        """Return the hexadecimal SHA-256 of masks and levels; the encoding has no part in it."""
        digest = hashlib.sha256()
        for name in sorted(self.keep):
            digest.update(json.dumps([name, *self.keep[name].shape]).encode() + b"\0")
            digest.update(pack_rows(self.keep[name]).numpy().tobytes())
            if self.levels is not None:
                digest.update(b"levels\0" + self.levels[name].numpy().tobytes())
        return digest.hexdigest()

    def save_pretrained(self, folder: str | Path, *, encoding: Encoding | None = None) -> None:
        """Write ``subnetwork_config.json`` and ``subnetwork.safetensors`` into ``folder``.

        Makes the folder; overwrites the two files. The same masks give the same bytes.

        Args:
            folder: Where to.
            encoding: ``packed`` or ``gaps``; None picks by size.

        Raises:
            SubnetworkError: The folder cannot be written, or there is no such encoding.
        """
        if encoding is not None and encoding not in ENCODINGS:
            raise SubnetworkError(f"unknown encoding {encoding!r}. Choices: {', '.join(ENCODINGS)}")
        self._folder = Path(folder)
        self.config = self._write(self._folder, self.config, encoding)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, revision: str | None = None, token: str | bool | None = None
    ) -> Subnetwork:
        """Read what :meth:`save_pretrained` wrote or :meth:`push_to_hub` uploaded.

        Args:
            source: A folder, or an id on the Hugging Face Hub (``name/persona``); a folder that
                is there comes first, and a path object is never taken for an id.
            revision: Branch, tag or commit on the Hub.
            token: Token for the Hub; None takes the one that was logged in with, if any.

        Raises:
            SubnetworkError: A file is missing or damaged, of an unknown version, or the two
                do not agree; names the file and says what to do. Or the Hub cannot be
                reached, or does not have it.
        """
        folder = hub.local_folder(source, revision=revision, token=token)
        masks, config = read_folder(folder)
        subnetwork = cls(masks.keep, config, masks.levels)
        subnetwork.compensation = Compensation.load(folder, masks.keep)
        subnetwork._folder = folder
        return subnetwork

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        message: str | None = None,
        evaluation: str | Path | None = None,
    ) -> str:
        """Upload the subnetwork with a model card to the Hugging Face Hub.

        Makes the repository where there is none. One commit holds the files of
        :meth:`save_pretrained` and a ``README.md`` (:func:`prosopon.subnetwork.model_card`).

        Args:
            repo_id: ``name/persona``.
            private: Whether a new repository is private; None is the account's default.
            token: A token that may write; None takes the one that was logged in with.
            message: Of the commit.
            evaluation: A folder that ``prosopon evaluate --output`` wrote: the card shows what
                was measured. Default the subnetwork's own folder, where the file is there.

        Returns:
            The address of the commit.

        Raises:
            SubnetworkError: The Hub cannot be reached or refuses; or what was measured is damaged,
                missing, or of another mask.
        """
        base_model = portable_name(self.config.base_model)  # a path here says nothing there
        with TemporaryDirectory() as name:
            folder = Path(name)
            config = self.config.model_copy(update={"base_model": base_model})
            config = self._write(folder, config)
            measured = self._measured(evaluation, config.checksum)
            return hub.upload(
                folder, repo_id, config, measured, private=private, token=token, message=message
            )

    def _measured(self, folder: str | Path | None, checksum: str) -> Evaluation | None:
        """Return what was measured of these masks; what is of others is refused."""
        place = folder or self._folder
        measured = read_evaluation(place) if place else None
        if measured is None:
            if folder:
                raise SubnetworkError(f"{folder}: holds no {EVALUATION_NAME}")
            return None
        if measured.checksum != checksum:
            raise SubnetworkError(
                f"{Path(place or '') / EVALUATION_NAME}: measures another mask; evaluate this one "
                "with --output, or delete the file"
            )
        return measured

    def _write(
        self, folder: Path, config: SubnetworkConfig, encoding: Encoding | None = None
    ) -> SubnetworkConfig:
        config = write_folder(folder, Masks(self.keep, self.levels), config, encoding)
        if self.compensation is not None:
            self.compensation.save(folder, self.keep)
        else:  # an older subnetwork's would be refused beside these masks
            (folder / COMPENSATION_NAME).unlink(missing_ok=True)
        return config

    def _check_levels(self, levels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the levels in the order of the masks, or say what is wrong with them."""
        for name, record in self.config.sites.items():
            ranking = levels.get(name)
            if ranking is None or ranking.dtype != torch.uint8 or ranking.shape != (record.pruned,):
                raise SubnetworkError(
                    f"subnetwork {self.config.persona!r}: site {name!r} needs levels uint8 "
                    f"[{record.pruned}], one for every pruned weight"
                )
        return {name: levels[name].cpu() for name in self.keep}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Subnetwork):
            return NotImplemented
        return _same(self.keep, other.keep) and _same(self.levels or {}, other.levels or {})

    def __repr__(self) -> str:
        return (
            f"Subnetwork({self.config.persona!r}, {len(self.keep)} sites, "
            f"{self.pruned:,} of {self.total:,} weights pruned)"
        )


def _same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name]) for name, tensor in ours.items()
    )
