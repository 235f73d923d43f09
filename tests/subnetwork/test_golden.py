"""Files that older versions of prosopon wrote: they load for ever.

Never write these files again; a new version of a format adds a folder or a file beside them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from prosopon.subnetwork import Subnetwork
from tests.subnetwork.samples import config, load_pack

GOLDEN = Path(__file__).parent / "golden"

UP, Q = "model.layers.0.mlp.up", "model.layers.0.attn.q"

KEPT = {
    UP: [
        [True, False, True, True, False, True, True, True, False, True],
        [False, False, False, False, False, False, False, False, False, False],
        [True, True, True, True, True, True, True, True, True, True],
    ],
    Q: [
        [True, True, True, True, False, False, False, False],
        [False, True, False, True, False, True, False, True],
    ],
}
LEVELS = {UP: [0, 1, 2, 255, 254, 253, 128, 127, 126, 5, 5, 5, 9], Q: [7, 6, 5, 4, 3, 2, 1, 0]}


def kept(one):
    return {name: mask.tolist() for name, mask in one.keep.items()}


@pytest.mark.parametrize("folder", ["v1", "v2-packed", "v2-gaps"])
def test_folders(folder):
    loaded = Subnetwork.from_pretrained(GOLDEN / folder)
    assert kept(loaded) == KEPT
    assert loaded.sites == (UP, Q)
    assert loaded.config.persona == "introvert"
    assert loaded.config.options == config().options
    if folder == "v1":
        assert (loaded.config.format_version, loaded.levels) == (1, None)
    else:
        assert loaded.config.format_version == 2
        assert {name: levels.tolist() for name, levels in loaded.levels.items()} == LEVELS


def test_an_old_folder_is_written_as_a_new_one(tmp_path):
    old = Subnetwork.from_pretrained(GOLDEN / "v1")
    old.save_pretrained(tmp_path)
    assert Subnetwork.from_pretrained(tmp_path) == old
    assert Subnetwork.from_pretrained(tmp_path).config.format_version == 2


def test_the_first_pack():
    first, second = (personas := load_pack(GOLDEN / "v1.pack")).values()
    assert tuple(personas) == ("introvert", "extravert")
    assert kept(first) == KEPT
    assert {name: levels.tolist() for name, levels in first.levels.items()} == LEVELS
    expected = KEPT | {Q: [[not bit for bit in row] for row in KEPT[Q]]}
    assert kept(second) == expected
    assert second.levels is None
    assert second.config.persona == "extravert"
