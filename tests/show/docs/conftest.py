"""The documentation's site, built as `make docs` builds it, from a copy."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def build(tmp_path_factory) -> subprocess.CompletedProcess:
    """A strict build; `cwd` of its arguments has `docs/site`."""
    folder = tmp_path_factory.mktemp("documentation")
    shutil.copytree(REPOSITORY / "docs", folder / "docs", ignore=shutil.ignore_patterns("site", ".cache"))
    linked = folder / "build" / "types" / "vita_clip_hf"
    linked.mkdir(parents=True)
    for path in (*(REPOSITORY / "vita_clip_hf").iterdir(), REPOSITORY / "modeling", REPOSITORY / "hub_cards"):
        (linked / path.name).symlink_to(path)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "docs/zensical.toml"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    run.folder = folder
    return run


@pytest.fixture(scope="session")
def site(build) -> Path:
    """The folder of the site."""
    return build.folder / "docs" / "site"
