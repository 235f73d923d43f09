from __future__ import annotations

from pathlib import Path

import pytest

from prosopon import embedded
from prosopon.errors import ModelError


def test_path_is_the_package_folder_when_the_weights_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "model.safetensors").touch()
    assert embedded.path() == tmp_path


def test_absent_weights_are_an_error_that_names_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ModelError, match=r"model\.safetensors") as caught:
        embedded.path()
    assert str(tmp_path) in str(caught.value)
