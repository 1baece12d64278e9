"""The documentation's site, built as `make docs` builds it, from a copy."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from printed_code import REPOSITORY


@dataclass(frozen=True)
class Build:
    """
    Args:
        site: its folder.
        code: the builder's exit code.
        said: all that it printed.
    """

    site: Path
    code: int
    said: str


@pytest.fixture(scope="session")
def build(tmp_path_factory) -> Build:
    """A strict build."""
    folder = tmp_path_factory.mktemp("documentation")
    shutil.copytree(REPOSITORY / "docs", folder / "docs", ignore=shutil.ignore_patterns("site", ".cache"))
    linked = folder / "build" / "types" / "vita_clip_hf"
    linked.mkdir(parents=True)
    for path in (*(REPOSITORY / "vita_clip_hf").iterdir(), REPOSITORY / "modeling", REPOSITORY / "hub_cards"):
        (linked / path.name).symlink_to(path)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "docs/zensical.toml"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    return Build(folder / "docs" / "site", run.returncode, run.stdout + run.stderr)


@pytest.fixture(scope="session")
def site(build) -> Path:
    """The folder of the site."""
    return build.site
