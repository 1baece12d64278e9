"""What every test may rely on: no network, one thread per parallel worker, and the shared folder by name."""

import os
from pathlib import Path

import pytest

# Both must be set before torch and huggingface_hub are imported, which is why they stand outside any fixture.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of material that is too large for the repository: real videos, label lists, CLIP's tokenizer.

    A test that needs it is skipped where the folder is absent, except in CI, where nothing may be skipped for it.
    """
    folder = Path(os.environ.get("VITA_CLIP_SHARED") or REPOSITORY.parent / "shared")
    if folder.is_dir():
        return folder
    reason = f"needs the shared folder, and {folder} is not a folder (VITA_CLIP_SHARED names another place)"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; CI must have it")
    pytest.skip(reason)
