"""Fuzz the readers of subnetworks with atheris (libFuzzer): folders, codes of gaps, packs.

Damaged folders, and the index of a pack, get checksums that fit, so that the fuzzer reaches what
lies behind them; the parts of a pack keep theirs. A reader
must refuse it with a SubnetworkError or give masks that agree with what is stated of them;
anything else (another exception, a crash, a gigabyte of memory) ends the run and leaves the
input in a file.

    pip install 'prosopon[fuzz]'
    python tools/fuzz_subnetwork.py folder -max_total_time=60
    python tools/fuzz_subnetwork.py gaps|pack -runs=100000
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["prosopon.subnetwork"]):
    from prosopon.errors import SubnetworkError
    from prosopon.subnetwork import Pack, decode_gaps, encode_gaps
    from prosopon.subnetwork.index import PackIndex
    from prosopon.subnetwork.pack import _decompress, _parse_index
    from prosopon.subnetwork.storage import parse_config, unstamp

import numpy as np

GOLDEN = Path(__file__).parents[1] / "tests" / "subnetwork" / "golden"


def fuzz_gaps(data: bytes) -> None:
    """Read a code; what is accepted is encoded again and read to the same."""
    shape = (3, 10)
    try:
        pruned = decode_gaps(np.frombuffer(data, np.uint8), shape)
    except SubnetworkError:
        return
    assert decode_gaps(encode_gaps(pruned, shape), shape).tolist() == pruned.tolist()


def fuzz_folder(data: bytes) -> None:
    """Read ``config 0xFF masks``; what is accepted agrees with its configuration."""
    head, _, content = data.partition(b"\xff")
    try:
        config = parse_config(head)
        fits = config.model_copy(update={"checksum": hashlib.sha256(content).hexdigest()})
        masks = unstamp(content, fits)
    except SubnetworkError:
        return
    assert {name: tuple(mask.shape) for name, mask in masks.keep.items()} == {
        name: record.shape for name, record in config.sites.items()
    }


def fuzz_pack(data: bytes) -> None:
    """Read a pack of any bytes, its index, and a frame of its own."""
    head, _, frame = data.partition(b"\xff")
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            pack = Pack(file.name)
            for name in pack.names:
                pack.load(name)
        except SubnetworkError:
            pass
    for read in (_index, lambda _: _decompress(frame, 64)):
        try:
            read(head)
        except SubnetworkError:
            continue


def _index(content: bytes) -> PackIndex:
    return _parse_index(f"1 {hashlib.sha256(content).hexdigest()}", content)


def seeds(target: str) -> list[bytes]:
    """Return inputs to start from: the golden files."""
    if target == "gaps":
        return [encode_gaps(np.array(p, np.int64), (3, 10)).tobytes() for p in ([], [3, 9, 29])]
    if target == "pack":
        pack = GOLDEN / "v1.pack"
        return [pack.read_bytes(), Pack(pack).index.model_dump_json().encode() + b"\xff"]
    names = ("subnetwork_config.json", "subnetwork.safetensors")
    folders = sorted(folder for folder in GOLDEN.iterdir() if folder.is_dir())
    return [b"\xff".join((folder / name).read_bytes() for name in names) for folder in folders]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "folder": fuzz_folder,
    "gaps": fuzz_gaps,
    "pack": fuzz_pack,
}


def main() -> None:
    """Fuzz the target of the first argument; the others go to libFuzzer."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: {sys.argv[0]} {{{','.join(TARGETS)}}} [libFuzzer's options]")
    target = sys.argv.pop(1)
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
    for number, seed in enumerate(seeds(target)):
        (corpus / str(number)).write_bytes(seed)
    options = ["-rss_limit_mb=2048", "-timeout=10", "-max_len=4096"]
    print(json.dumps({"target": target, "corpus": str(corpus)}))
    atheris.Setup([sys.argv[0], str(corpus), *options, *sys.argv[1:]], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
