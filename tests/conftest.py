"""What every test shares: offline settings, few threads, and the folder of shared inputs."""

from __future__ import annotations

import os
from pathlib import Path

# Set before anything imports huggingface_hub or tokenizers, which read them once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real models and data that lies beside the repository; skips where absent."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("PROSOPON_SHARED", beside))
    if not folder.is_dir():
        pytest.skip(f"shared inputs are absent: {folder} (set PROSOPON_SHARED)")
    return folder
