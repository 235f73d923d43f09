"""Read subnetworks and packs without prosopon, as docs/format.md says."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import zstandard


def read_folder(folder):
    """Return the config and, by site, masks (bool [out, in], True is kept) and levels."""
    config = json.loads((Path(folder) / "subnetwork_config.json").read_text("utf-8"))
    check(config["format_version"] in (1, 2), "the version")
    content = (Path(folder) / "subnetwork.safetensors").read_bytes()
    check(sha256(content) == config["checksum"], "the checksum of the masks")
    tensors = parse_tensors(content)[0]
    if config["format_version"] == 1:
        tensors = {f"{site}.mask": tensor for site, tensor in tensors.items()}
    encoding = config.get("encoding", "packed")
    masks = {s: decode(tensors[f"{s}.mask"], r, encoding) for s, r in config["sites"].items()}
    return config, masks, {s: tensors.get(f"{s}.levels") for s in masks}


def read_pack(path):
    """Return by persona what read_folder returns for one."""
    tensors, metadata = parse_tensors(Path(path).read_bytes())
    version, checksum = metadata["prosopon_pack"].split(" ")
    check(version == "1", "the version")
    check(sha256(tensors["index"]) == checksum, "the checksum of the index")
    index = json.loads(tensors["index"].tobytes())
    parts = parse_tensors(decompress(tensors["shared"], index["shared"]))[0]
    shared = {
        site: decode(parts[f"{site}.mask"], record, index["shared"]["encoding"])
        for site, record in index["sites"].items()
    }
    personas = {}
    for name, entry in index["personas"].items():
        part = decompress(tensors[entry["part"]], entry["record"])
        end = 4 + struct.unpack("<I", part[:4])[0]
        head, parts = json.loads(part[4:end]), parse_tensors(part[end:])[0]
        masks = {}
        for site, mask in shared.items():
            record = {"shape": mask.shape, "pruned": head["changed"][site]}
            same = decode(parts[f"{site}.mask"], record, entry["record"]["encoding"])
            masks[site] = mask == same
        personas[name] = head["config"], masks, {s: parts.get(f"{s}.levels") for s in masks}
    return personas


def parse_tensors(content):
    """Return the uint8 arrays of a safetensors file by name, and its metadata."""
    start = 8 + struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8:start]), np.frombuffer(content, np.uint8)[start:]
    metadata = header.pop("__metadata__", {})
    check(all(entry["dtype"] == "U8" for entry in header.values()), "a tensor's type")
    cut = {name: data[slice(*e["data_offsets"])].reshape(e["shape"]) for name, e in header.items()}
    return cut, metadata


def decode(stored, record, encoding):
    """Return one mask, bool [out, in]."""
    rows, columns = record["shape"]
    if encoding == "packed":
        mask = np.unpackbits(stored, axis=1, count=columns).astype(bool)
    else:
        *shape, count = struct.unpack("<III", stored[:12])
        k, end = int(stored[12]), 13 + -(-count * int(stored[12]) // 8)
        check(shape == [rows, columns], "the shape in a code of gaps")
        low = np.unpackbits(stored[13:end], count=count * k).reshape(count, k)
        high = np.diff(np.flatnonzero(np.unpackbits(stored[end:])), prepend=-1) - 1
        gaps = (high << k) + low @ (1 << np.arange(k)[::-1])
        mask = np.ones((rows, columns), bool)
        mask.flat[np.cumsum(gaps + 1) - 1] = False
    check((~mask).sum() == record["pruned"], "the number of pruned weights")
    return mask


def decompress(part, record):
    """Return the content of a part of a pack."""
    check(sha256(part) == record["sha256"], "the checksum of a part")
    return zstandard.ZstdDecompressor().decompress(part.tobytes(), record["size"])


def sha256(content):
    """Return the hexadecimal checksum of bytes."""
    return hashlib.sha256(content).hexdigest()


def check(fits, what):
    """Refuse a file in which something does not fit."""
    if not fits:
        raise ValueError(f"damaged or not known: {what}")
