"""Packs: many personas of one model in one file, each as its difference from a shared mask.

A pack is a safetensors file of uint8 tensors: ``index`` (JSON), ``shared`` (the majority mask)
and ``0``, ``1``, ... (a persona each). Whatever a persona's mask and the shared one do not agree
on is itself a mask (exclusive-or), stored in the encoding that suits it and compressed with
Zstandard together with the persona's provenance and levels. A persona is read without the
others. Its bytes have a SHA-256 in the index, and the index has one in the file's metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zstandard
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from prosopon.errors import OptionError, SubnetworkError, UnknownNameError
from prosopon.files import atomic_path
from prosopon.subnetwork.algebra import check_agree, vote
from prosopon.subnetwork.config import count_pruned, first_error, site_records
from prosopon.subnetwork.encodings import (
    Masks,
    check_memory,
    choose_encoding,
    decode_masks,
    encode_masks,
    parse_tensors,
)
from prosopon.subnetwork.index import PackIndex, PartRecord, PersonaHead, PersonaRecord
from prosopon.subnetwork.subnetwork import Subnetwork

if TYPE_CHECKING:
    from torch import Tensor

PACK_NAME: Final = "personas.pack"
"""What a pack is called where only a folder is named."""

PACK_VERSION: Final = 1
"""Version of the pack format that this code writes and reads."""

_KEY = "prosopon_pack"
_AGAIN = "copy or download the pack again"
_LEVEL = 10  # of Zstandard; the codes of random masks do not shrink, whatever the level


def write_pack(
    path: str | Path,
    subnetworks: Mapping[str, Subnetwork] | Sequence[Subnetwork],
    *,
    force: bool = False,
) -> PackIndex:
    """Write subnetworks of one model into a pack.

    Args:
        path: The file.
        subnetworks: By name, or a sequence whose names are those in the provenance.
        force: Write over a pack that is there already; any other file stays.

    Returns:
        The index: what the pack holds and how many bytes each part takes.

    Raises:
        SubnetworkError: There are none, two have one name, one has a compensation, they belong
            to different models or have different sites, or the file cannot be written.
        OptionError: There is a file already that may not be replaced.
    """
    _check_free(Path(path), force)
    named = _by_name(subnetworks)
    operands = list(named.values())
    check_agree(operands)
    first, most = operands[0], len(operands) // 2 + 1
    shared = {site: vote((one.keep[site] for one in operands), most) for site in first.keep}
    encoding = choose_encoding(shared)
    parts = {"shared": encode_masks(Masks(shared, None), encoding)}
    record, personas = _record(parts, "shared", encoding), {}
    for number, (name, one) in enumerate(named.items()):
        part, (payload, encoding) = str(number), _payload(one, shared)
        parts[part] = payload
        personas[name] = PersonaRecord(
            part=part,
            record=_record(parts, part, encoding),
            criterion=one.config.criterion,
            pruned=one.pruned,
            changed=sum(count_pruned(one.keep[site] == shared[site]) for site in shared),
            ranked=one.levels is not None,
        )
    index = PackIndex(
        base_model=first.config.base_model,
        fingerprint=first.config.fingerprint,
        sites=site_records(shared),
        shared=record,
        personas=personas,
    )
    _write(Path(path), index, parts)
    return index


class Pack:
    """A pack that is open for reading: the index is read, personas come on demand.

    Attributes:
        path: The file.
        index: What it holds.

    Raises:
        SubnetworkError: It is missing, no pack, of another version, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.index = _parse_index(*self._read_index())
            self._limit = _limit(self.index)
        except SubnetworkError as error:
            raise SubnetworkError(f"{self.path}: {error}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the personas, in the order in which they were packed."""
        return tuple(self.index.personas)

    def load(self, name: str) -> Subnetwork:
        """Read one persona; none of this name is an UnknownNameError, damage a SubnetworkError."""
        if name not in self.index.personas:
            raise UnknownNameError("persona", name, self.index.personas)
        try:
            return self._load(self.index.personas[name])
        except SubnetworkError as error:
            raise SubnetworkError(f"{self.path}: persona {name!r}: {error}; {_AGAIN}") from None

    def _load(self, persona: PersonaRecord) -> Subnetwork:
        payload = self._part(persona.part, persona.record)
        end = 4 + int.from_bytes(payload[:4], "little")
        try:
            head = PersonaHead.model_validate_json(payload[4:end])
        except ValidationError as error:
            raise SubnetworkError(f"damaged: its provenance: {first_error(error)}") from None
        config, sites = head.config, self.index.sites
        if config.ranked != persona.ranked:
            raise SubnetworkError("damaged: the index and its provenance disagree on its ranking")
        shapes, own = ({s: r.shape for s, r in every.items()} for every in (sites, config.sites))
        if shapes != own:
            raise SubnetworkError("its sites differ from those of the shared mask")
        if head.changed.keys() != sites.keys():
            raise SubnetworkError("damaged: its numbers of differences are not one for every site")
        expected = {
            site: record.model_copy(update={"pruned": head.changed[site]})
            for site, record in sites.items()
        }
        tensors, ranking = parse_tensors(payload[end:]), config.sites if persona.ranked else None
        same, levels = decode_masks(tensors, expected, persona.record.encoding, ranking)
        keep = {site: self._shared[site] == same[site] for site in config.sites}
        return Subnetwork(keep, config, levels)

    @cached_property
    def _shared(self) -> Mapping[str, Tensor]:
        record = self.index.shared
        tensors = parse_tensors(self._part("shared", record))
        return decode_masks(tensors, self.index.sites, record.encoding, None).keep

    def _part(self, name: str, record: PartRecord) -> bytes:
        """Return the decompressed bytes of a part whose checksum fits."""
        data = self._bytes(name)
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise SubnetworkError("damaged (its checksum is not the one in the index)")
        if record.size > self._limit:
            raise SubnetworkError(f"{record.size:,} bytes are more than its shapes can need")
        return _decompress(data, record.size)

    def _read_index(self) -> tuple[str, bytes]:
        """Return the entry of the metadata and the bytes of the index."""
        with self._open() as file:
            entry = (file.metadata() or {}).get(_KEY)
        if entry is None:
            raise SubnetworkError("no pack of personas; give a file that 'prosopon pack' wrote")
        return entry, self._bytes("index")

    def _bytes(self, name: str) -> bytes:
        """Return one tensor of the file; the others are not read."""
        with self._open() as file:
            if name not in file.keys():  # noqa: SIM118  a safetensors file is no mapping
                raise SubnetworkError(f"damaged: the part {name!r} is missing")
            piece = file.get_slice(name)
            if piece.get_dtype() != "U8" or len(piece.get_shape()) != 1:
                raise SubnetworkError(f"damaged: the part {name!r} is not uint8 [bytes]")
            return bytes(file.get_tensor(name))

    def _open(self) -> Any:
        if self.path.exists() and not self.path.is_file():
            raise SubnetworkError("no regular file with content")
        try:
            return safe_open(self.path, framework="numpy")
        except FileNotFoundError:
            raise SubnetworkError("no such file") from None
        except OSError as error:
            reason = error.strerror or "no regular file with content"
            raise SubnetworkError(f"cannot be read: {reason}") from None
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SubnetworkError(f"no pack of personas: not safetensors ({reason})") from None


def unpack(
    path: str | Path, folder: str | Path, names: Sequence[str] = (), *, force: bool = False
) -> list[Path]:
    """Write personas of a pack as folders, one each, that ``save_pretrained`` could have written.

    Args:
        path: The pack.
        folder: Where the folders go; each is called as its persona.
        names: Which personas; default all.
        force: Write over subnetworks that are there already.

    Returns:
        The folders.

    Raises:
        SubnetworkError: The pack cannot be read or is damaged, a folder cannot be written, or a
            name cannot be a folder's.
        UnknownNameError: The pack has no persona of a name.
        OptionError: A folder is there already. Then nothing is written.
    """
    pack = Pack(path)
    folders = {name: Path(folder) / name for name in names or pack.names}
    for name, target in folders.items():
        if name in ("", ".", "..") or any(char in '/\\:*?"<>|' or ord(char) < 32 for char in name):
            raise SubnetworkError(
                f"{path}: the persona {name!r} cannot be the name of a folder; pack it by another "
                "name, or read it with Pack(path).load"
            )
        if not force and target.is_dir() and any(target.iterdir()):
            raise OptionError(
                f"{target}: is not empty; give --force to write into it, or another folder"
            )
    for name, target in folders.items():
        pack.load(name).save_pretrained(target)
    return list(folders.values())


def _by_name(subnetworks: Mapping[str, Subnetwork] | Sequence[Subnetwork]) -> dict[str, Subnetwork]:
    if isinstance(subnetworks, Mapping):
        named = dict(subnetworks)
    else:
        names = [one.config.persona for one in subnetworks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SubnetworkError(f"two subnetworks are called {twice!r}; give them by other names")
        named = dict(zip(names, subnetworks, strict=True))
    if not named:
        raise SubnetworkError("a pack needs at least one subnetwork")
    for name, one in named.items():
        if one.compensation is not None:
            raise SubnetworkError(
                f"subnetwork {name!r} has new values for its kept weights, and a pack holds masks "
                "alone; keep its folder, or set its compensation to None"
            )
    return named


def _check_free(path: Path, force: bool) -> None:
    """Refuse to write over what is there, and with force over all but a pack."""
    if path.is_dir() or not path.exists():
        return
    if not force:
        raise OptionError(f"{path}: is there already; give --force to replace it, or another path")
    try:
        Pack(path)
    except SubnetworkError as error:
        raise OptionError(f"{error}: no pack wrote it, so that it is not replaced") from None


def _payload(one: Subnetwork, shared: Mapping[str, Tensor]) -> tuple[bytes, Any]:
    """Return a persona as bytes: length of the head, head, masks; and the encoding."""
    same = {site: one.keep[site] == shared[site] for site in shared}
    encoding = choose_encoding(same)
    changed = {site: count_pruned(mask) for site, mask in same.items()}
    value = {"config": one.config.model_dump(mode="json"), "changed": changed}
    head = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    masks = encode_masks(Masks(same, one.levels), encoding)
    return len(head).to_bytes(4, "little") + head + masks, encoding


def _record(parts: dict[str, bytes], name: str, encoding: Any) -> PartRecord:
    """Compress a part where it lies, and describe it."""
    size = len(parts[name])
    parts[name] = zstandard.ZstdCompressor(level=_LEVEL).compress(parts[name])
    checksum = hashlib.sha256(parts[name]).hexdigest()
    return PartRecord(sha256=checksum, bytes=len(parts[name]), size=size, encoding=encoding)


def _write(path: Path, index: PackIndex, parts: dict[str, bytes]) -> None:
    content = index.model_dump_json().encode()
    tensors = {name: np.frombuffer(part, np.uint8) for name, part in parts.items()}
    tensors["index"] = np.frombuffer(content, np.uint8)
    entry = f"{PACK_VERSION} {hashlib.sha256(content).hexdigest()}"
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(safetensors.save(tensors, {_KEY: entry}))
    except OSError as error:
        raise SubnetworkError(f"{path}: cannot be written: {error.strerror}") from error


def _parse_index(entry: str, content: bytes) -> PackIndex:
    """Check version and checksum, in this order, and parse the index."""
    version, _, checksum = entry.partition(" ")
    if version != str(PACK_VERSION):
        raise SubnetworkError(
            f"pack format {version!r}, and this prosopon reads {PACK_VERSION}; install the "
            "version that wrote it, or pack again"
        )
    if hashlib.sha256(content).hexdigest() != checksum:
        raise SubnetworkError(f"the index is damaged (its checksum does not fit); {_AGAIN}")
    try:
        return PackIndex.model_validate_json(content)
    except ValidationError as error:
        raise SubnetworkError(f"the index is damaged: {first_error(error)}; {_AGAIN}") from None


def _decompress(data: bytes, size: int) -> bytes:
    """Decompress to exactly ``size`` bytes, and allocate no more."""
    try:
        if zstandard.get_frame_parameters(data).content_size != size:
            raise SubnetworkError(f"damaged: it does not decompress to {size:,} bytes")
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise SubnetworkError(f"damaged: not Zstandard ({error})") from None


def _limit(index: PackIndex) -> int:
    """Return the most bytes a part can decompress to: a mask, a ranking and the provenance."""
    check_memory(index.sites)
    weights = sum(record.total for record in index.sites.values())
    names = sum(len(name.encode()) for name in index.sites)
    return 2 * weights + 16 * (names + 64 * len(index.sites)) + (1 << 24)
