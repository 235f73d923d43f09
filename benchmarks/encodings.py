"""Bytes of every encoding and of packs against their goals, and loading against reading."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.base import Row, benchmark, compare

WIDTH, INNER, LAYERS = 1024, 2816, 4
"""A Llama of these sizes; its masks are random, which is what takes most bytes."""

GOALS = {"packed": 0.126, "gaps": 2.2, "pack": 0.02}


@benchmark("encoding-bytes", "encodings", "bytes of masks / their goal")
def encoding_bytes(repeats: int) -> list[Row]:
    """Random masks at the densities of the goals, and one real light mask; nothing is timed."""
    del repeats
    rows = [_packed(0.5)]
    for share in (0.002, 0.005):
        made = _random(share)
        rows.append(_light(f"random, {share:.1%} pruned", made))
        rows.append(_light(f"random, {share:.1%} pruned, ranked", _ranked(made)))
    rows.append(_light("embedded model, extravert against introvert", _real()))
    return rows


@benchmark("pack-bytes", "encodings", "bytes of a persona in a pack / their goal")
def pack_bytes(repeats: int) -> list[Row]:
    """Eight masks with half of the weights pruned, each 1.3 percent from a common one."""
    del repeats
    import torch

    from prosopon.subnetwork import Subnetwork, write_pack

    common = _masks(0.5, seed=0)
    made = {}
    for number in range(8):
        flips = _masks(1 - 0.013, seed=number + 1)  # a random mask that keeps 1.3 percent
        keep = {site: torch.logical_xor(mask, flips[site]) for site, mask in common.items()}
        made[f"p{number}"] = Subnetwork(keep, _config())
    weights = made["p0"].total
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "personas.pack"
        index = write_pack(path, made)
        whole = path.stat().st_size
    largest = max(persona.record.bytes for persona in index.personas.values())
    return [
        _against(
            "bytes a weight of a persona in a pack, 1.3% from a common mask",
            largest / weights,
            GOALS["pack"],
            weights=weights,
            changed=max(persona.changed for persona in index.personas.values()) / weights,
            shared_bytes_per_weight=index.shared.bytes / weights,
            whole_file_bytes_per_weight_and_persona=whole / weights / len(made),
        )
    ]


@benchmark("load", "encodings", "loading a persona's folder / reading its bytes")
def load(repeats: int) -> list[Row]:
    """Folders in both encodings, and one persona of a pack."""
    from prosopon.subnetwork import Pack, write_pack

    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, share in (("packed", 0.5), ("gaps", 0.005)):
            made = _random(share)
            made.save_pretrained(folder / kind, encoding=kind)
            rows.append(_loading(folder / kind, f"{kind}, {share:.1%} pruned", repeats))
        write_pack(folder / "pack", {"a": made, "b": made})
        rows.append(
            compare(
                "load of one light persona of a pack",
                lambda: Pack(folder / "pack").load("a"),
                "reading the pack's bytes",
                (folder / "pack").read_bytes,
                repeats,
                bytes=(folder / "pack").stat().st_size,
                weights=made.total,
            )
        )
    return rows


def _loading(folder: Path, what: str, repeats: int) -> Row:
    from prosopon.subnetwork import Subnetwork

    files = sorted(folder.iterdir())
    loaded = Subnetwork.from_pretrained(folder)
    return compare(
        f"load of a persona ({what})",
        lambda: Subnetwork.from_pretrained(folder),
        "reading its bytes",
        lambda: [file.read_bytes() for file in files],
        repeats,
        bytes=sum(file.stat().st_size for file in files),
        weights=loaded.total,
    )


def _packed(share: float) -> Row:
    made = _random(share)
    masks, both = _bytes(made)
    return _against(
        f"bytes a weight, packed ({share:.0%} pruned)",
        both / made.total,
        GOALS["packed"],
        weights=made.total,
        masks_only=masks / made.total,
    )


def _light(what: str, made: Any) -> Row:
    """Bytes a pruned weight of the whole folder; beside it those without the config."""
    masks, both = _bytes(made)
    return _against(
        f"bytes a pruned weight, gaps ({what})",
        both / made.pruned,
        GOALS["gaps"],
        weights=made.total,
        pruned=made.pruned,
        masks_only=masks / made.pruned,
        encoding=made.config.encoding,
        ranked=made.levels is not None,
    )


def _bytes(made: Any) -> tuple[int, int]:
    """Return the bytes of the file of masks, and of the folder."""
    from prosopon.subnetwork import MASKS_NAME

    with tempfile.TemporaryDirectory() as folder:
        made.save_pretrained(folder)
        sizes = {path.name: path.stat().st_size for path in Path(folder).iterdir()}
    return sizes[MASKS_NAME], sum(sizes.values())


def _against(name: str, value: float, goal: float, **more: Any) -> Row:
    """Return a row that has no time in it: a number against its goal."""
    ratio = value / goal
    row = {"name": name, "baseline": f"the goal of {goal:g}", "value": value, "goal": 1.0}
    return row | {"ratio": ratio, "ratio_range": [ratio, ratio], "repeats": 1} | more


def _masks(share: float, seed: int) -> dict[str, Any]:
    """Return random masks of a Llama's sites that prune ``share`` of the weights."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    shapes = {f"self_attn.{name}_proj": (WIDTH, WIDTH) for name in "qkvo"}
    shapes |= {f"mlp.{name}_proj": (INNER, WIDTH) for name in ("gate", "up")}
    shapes["mlp.down_proj"] = (WIDTH, INNER)
    return {
        f"model.layers.{layer}.{site}": torch.rand(shape, generator=generator) >= share
        for layer in range(LAYERS)
        for site, shape in shapes.items()
    }


def _random(share: float) -> Any:
    from prosopon.subnetwork import Subnetwork

    return Subnetwork(_masks(share, seed=0), _config())


def _ranked(made: Any) -> Any:
    """Return the same masks with random levels, which is what takes most bytes."""
    import torch

    from prosopon.subnetwork import Subnetwork

    generator = torch.Generator().manual_seed(1)
    levels = {
        name: torch.randint(256, (int((~mask).sum()),), generator=generator, dtype=torch.uint8)
        for name, mask in made.keep.items()
    }
    return Subnetwork(made.keep, made.config, levels)


def _config() -> Any:
    from prosopon.subnetwork import SubnetworkConfig

    return SubnetworkConfig.model_validate(
        {
            "persona": "random",
            "base_model": "random",
            "fingerprint": {"architecture": "0" * 64, "weights": "0" * 64},
            "criterion": "random",
            "pattern": "none",
            "calibration": {"target_hash": "0" * 64, "target_count": 0},
        }
    )


def _real() -> Any:
    from prosopon.data import bundled
    from prosopon.extraction import Extractor
    from prosopon.models import load_model

    model, tokenizer = load_model("embedded", device="cpu")[:2]
    extractor = Extractor(model, tokenizer, name="embedded")
    target, opposite = bundled.load("extravert"), bundled.load("introvert")
    return extractor.extract(target, opposite, options={"rounds": 2})
