"""The package's description agrees with the tree: versions, packages, dependencies, and what the README promises."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from toy_checkpoint import TIMEOUT, write_rising_video

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[1]
# Modules whose distribution has another name.
DISTRIBUTIONS = {"decord": "decord2", "PIL": "pillow", "yaml": "pyyaml", "jinja2": "Jinja2"}
DESIGNED_TOP_LEVEL = {
    *{"modeling", "vita_clip_hf", "hub_cards", "examples", "benchmarks", "tests", "docs", ".ci", ".github"},
    *{"pyproject.toml", "MANIFEST.in", "constraints.txt", "constraints-oldest.txt", "Makefile", ".gitignore"},
    *{"README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md"},
}


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def lower_bounds(pyproject: dict[str, Any], *extras: str) -> dict[str, str]:
    """Lowest version by name, of what every installation needs and of what the named extras add."""
    project = pyproject["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    requirements = [Requirement(line) for group in groups for line in group]
    others = [requirement for requirement in requirements if requirement.name != "vita-clip-hf"]
    return {requirement.name: str(requirement.specifier).removeprefix(">=") for requirement in others}


def pinned_versions(constraints: str) -> set[tuple[str, str]]:
    """(name, version) of every line of a constraints file; a name may have one version per Python version."""
    text = (REPOSITORY / constraints).read_text(encoding="utf-8")
    return set(re.findall(r"^([\w-]+)==([\w.]+)", text, flags=re.MULTILINE))


def imported_modules(folder: str) -> Iterator[tuple[str, str]]:
    """(file, top-level module) of every absolute import below `folder` that is not of the standard library."""
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            else:
                continue
            for name in names:
                module = name.partition(".")[0]
                if module not in sys.stdlib_module_names:
                    yield str(path.relative_to(REPOSITORY)), module


def undeclared_imports(folder: str, *, allowed: set[str]) -> set[tuple[str, str]]:
    return {
        (file, module) for file, module in imported_modules(folder) if DISTRIBUTIONS.get(module, module) not in allowed
    }


def test_version_is_the_same_everywhere(pyproject: dict[str, Any]) -> None:
    version = pyproject["project"]["version"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert importlib.metadata.version("vita-clip-hf") == version
    assert f"## {version}" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


def test_package_reports_its_installed_version() -> None:
    import vita_clip_hf

    assert vita_clip_hf.__version__ == importlib.metadata.version("vita-clip-hf")


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_names_the_command_on_its_first_screen(command: str) -> None:
    first_screen = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()[:25]
    assert any(line.startswith(command) for line in first_screen)


def test_every_package_in_the_tree_is_listed(pyproject: dict[str, Any]) -> None:
    in_tree = {
        ".".join(path.parent.relative_to(REPOSITORY).parts)
        for path in (REPOSITORY / "vita_clip_hf").rglob("__init__.py")
    }
    setuptools = pyproject["tool"]["setuptools"]
    mapped = set(setuptools["package-dir"])
    assert set(setuptools["packages"]) == in_tree | mapped


def test_data_files_of_every_package_are_matched_by_a_pattern(pyproject: dict[str, Any]) -> None:
    setuptools = pyproject["tool"]["setuptools"]
    shipped = {
        path
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for path in (REPOSITORY / setuptools["package-dir"].get(package, package.replace(".", "/"))).glob(pattern)
    }
    in_tree = {
        path
        for folder in ["vita_clip_hf", *setuptools["package-dir"].values()]
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert in_tree - shipped == set()


def test_oldest_constraints_are_the_declared_lower_bounds(pyproject: dict[str, Any]) -> None:
    assert pinned_versions("constraints-oldest.txt") == set(lower_bounds(pyproject, "demo", "test").items())


def test_every_direct_dependency_has_a_tested_version(pyproject: dict[str, Any]) -> None:
    declared = set(lower_bounds(pyproject, *pyproject["project"]["optional-dependencies"]))
    assert declared - {name for name, _ in pinned_versions("constraints.txt")} == set()


def test_modeling_imports_only_its_siblings_and_required_dependencies(pyproject: dict[str, Any]) -> None:
    # torchcodec is imported where somebody asks for that backend: test_video_decoding.py.
    assert undeclared_imports("modeling", allowed={"torchcodec", *lower_bounds(pyproject)}) == set()


def test_package_imports_only_itself_and_declared_dependencies(pyproject: dict[str, Any]) -> None:
    # torchao is imported where somebody asks for it, and where it is missing an error says so: test_quantization.py.
    allowed = {"vita_clip_hf", "torchao", *lower_bounds(pyproject, "demo", "app", "mteb")}
    assert undeclared_imports("vita_clip_hf", allowed=allowed) == set()


def test_nothing_unexpected_at_the_top_level() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout: what is committed cannot be told from what lies around")
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    assert {line.partition("/")[0] for line in tracked.splitlines()} - DESIGNED_TOP_LEVEL == set()


# ---- what is installed ----

# A script as a person writes it: without a `__main__` guard.
PROGRAM = """
import sys
from pathlib import Path
import datasets, torch, vita_clip_hf
from vita_clip_hf import VitaClipVideoProcessor
from vita_clip_hf.data import VideoClips, collate_clips
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader, VideoReadError

good, *damaged = map(Path, sys.argv[1:])
print(Path(vita_clip_hf.__file__).parents[1])
print(len(VideoReader(good).read_frames([9, 0])))
for path in damaged:
    try:
        reader = VideoReader(path.read_bytes())
        reader.read_frames(range(reader.num_frames))
    except VideoReadError as error:
        assert str(error).startswith("<"), error
print(len(VideoReader(good.read_bytes()).read_frames([9, 0])))

videos = [path.read_bytes() for path in (good, *damaged, good)]
rows = datasets.Dataset.from_dict({"video": videos, "label": [0] * len(videos)})
rows = rows.cast_column("label", datasets.ClassLabel(names=["a"]))
sides = {"height": 16, "width": 16}
processor = VitaClipVideoProcessor(size={"shortest_edge": 16}, crop_size=sides, num_frames=4)
clips = VideoClips(rows, processor, sampling="uniform", num_frames=4, on_bad_video="skip")
loader = torch.utils.data.DataLoader(clips, batch_size=2, num_workers=2, collate_fn=collate_clips)
print(sum(len(batch["pixel_values"]) for batch in loader) - len(videos))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation: a wheel built from a copy of the tree, unpacked."""
    pytest.importorskip("setuptools")
    source, place = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("vita_clip_hf", "modeling", "hub_cards"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


def test_an_installed_package_decodes_and_survives_damaged_bytes_in_workers_too(installed, shared_dir, tmp_path):
    good = write_rising_video(tmp_path / "good.mp4")
    names = ("00214_bitflip_video_0.mov", "00739_truncate_ucf_style_xvid.avi", "01489_absurd_video_180.mov")
    damaged = [shared_dir / "data" / "damaged" / name for name in names]
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, good, *damaged]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.split() == [str(installed), "2", "2", "0"]
