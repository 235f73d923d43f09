"""Where files that can be made again lie."""

from pathlib import Path

from prosopon.files import cache_folder


def test_the_cache_lies_where_its_owner_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PROSOPON_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("PROSOPON_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/prosopon")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache/prosopon"
