"""What every test shares: offline settings, few threads, and the folder of shared inputs."""

from __future__ import annotations

import os
from pathlib import Path

# Set before anything imports huggingface_hub or tokenizers, which read them once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# One thread a process: tests run side by side, and threads that wait for each other's cores are
# several times slower than none. Commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real models and data that lies beside the repository; skips where absent."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("PROSOPON_SHARED", beside))
    if not folder.is_dir():
        pytest.skip(f"shared inputs are absent: {folder} (set PROSOPON_SHARED)")
    return folder
