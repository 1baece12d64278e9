"""What all tests share: no network, one thread per parallel worker, odd addresses, the shared folder by name."""

import os
from pathlib import Path

import pytest

# Both must be set before torch and huggingface_hub are imported, which is why they stand outside any fixture.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--show", action="store_true", help="run tests/show too: needs the extra 'show' and Chromium")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of what people see have a target of their own; others skip them by name."""
    if config.getoption("--show"):
        return
    skip = pytest.mark.skip(reason="part of `make test-show`")
    for item in items:
        if "show" in item.path.relative_to(REPOSITORY / "tests").parts[:-1]:
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def odd_addresses():
    """Loaded weights lie at odd addresses (`odd_addresses.py`): compare with `tolerance.assert_computed_equal`."""
    from odd_addresses import load_at_odd_addresses

    from vita_clip_hf import VitaClipModel

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VitaClipModel, "from_pretrained", load_at_odd_addresses(VitaClipModel.from_pretrained.__func__))
        yield


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
