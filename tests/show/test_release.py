"""What is uploaded to a package index: an sdist and a wheel with the tree's files, that work where the tree is not."""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from toy_checkpoint import TIMEOUT, write_rising_video

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
# Folder of the tree -> folder of the wheel.
PLACES = {"vita_clip_hf": "vita_clip_hf", "modeling": "vita_clip_hf/modeling", "hub_cards": "vita_clip_hf/hub_cards"}
DESCRIPTION = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "MANIFEST.in"}
MADE = {"PKG-INFO", "setup.cfg"}


def run(*command: object, cwd: Path, **environment: str) -> str:
    """What a command prints; it must end well."""
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert result.returncode == 0, f"{command}: {result.stdout[-2000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def tracked_files() -> list[str]:
    """Files of the tree that belong to it; git knows them, and what else lies around is left out."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=REPOSITORY)
    return [name for name in listed.split("\0") if (REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree as a fresh clone has it, tests and documentation included."""
    folder = tmp_path_factory.mktemp("tree")
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def dist(tree: Path) -> Path:
    """The sdist, and the wheel built from it."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tree / "dist", cwd=tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def contents(wheel: Path) -> dict[str, str]:
    """Hash by name of each file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return importlib.metadata.PathDistribution(zipfile.Path(archive, name.partition("/")[0] + "/")).metadata


def test_files_are_named_after_the_version(dist):
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    names = {path.name for path in dist.iterdir()}
    assert names == {f"vita_clip_hf-{version}.tar.gz", f"vita_clip_hf-{version}-py3-none-any.whl"}


def test_an_index_takes_them_and_renders_the_readme(dist):
    output = run(sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir()), cwd=dist)
    assert output.count("PASSED") == 2


def test_the_wheel_has_the_trees_files_and_no_others(wheel):
    expected = {
        f"{PLACES[folder]}/{rest}": hashlib.sha256((REPOSITORY / name).read_bytes()).hexdigest()
        for name in tracked_files()
        for folder, _, rest in [name.partition("/")]
        if folder in PLACES
    }
    found = {name: digest for name, digest in contents(wheel).items() if ".dist-info/" not in name}
    assert found == expected
    needed = (
        "py.typed",
        "demo/tiny_clip/model.safetensors",
        "evaluation/protocols/zero-shot.yaml",
        "modeling/__init__.py",
    )
    assert [name for name in (*needed, "hub_cards/handler.py") if f"vita_clip_hf/{name}" not in found] == []


def test_the_wheel_describes_itself_with_its_licence(wheel):
    described = {name.partition(".dist-info/")[2] for name in contents(wheel) if ".dist-info/" in name}
    assert described == {
        *{"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE"},
    }


def test_the_sdist_has_what_is_installed_and_what_describes_it(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    packaged = {name for name in tracked_files() if name.partition("/")[0] in PLACES}
    assert {name for name in files if ".egg-info/" not in name} == packaged | DESCRIPTION | MADE


def test_the_wheel_of_the_sdist_is_that_of_the_tree(tree, wheel):
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tree / "from_tree", cwd=tree)
    (other,) = (tree / "from_tree").iterdir()
    assert contents(other) == contents(wheel)


def test_the_core_needs_what_is_declared_and_no_extra(wheel):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = metadata_of(wheel)
    required = metadata.get_all("Requires-Dist")
    assert sorted(line for line in required if "extra ==" not in line) == sorted(project["dependencies"])
    assert set(metadata.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata["License-Expression"] == project["license"]
    assert metadata.get_payload() == (REPOSITORY / "README.md").read_text(encoding="utf-8")


# ---- in an environment of its own ----

LOAD = """
import sys
from importlib.resources import files
import vita_clip_hf
from vita_clip_hf import VitaClipModel, VitaClipProcessor
print(vita_clip_hf.__file__)
clip = "package://vita_clip_hf/demo/tiny_clip"
model = VitaClipModel.from_pretrained(clip, id2label={0: "a", 1: "b"}, num_frames=2)
VitaClipProcessor.from_pretrained(clip, num_frames=2)
print(sum(weight.numel() for weight in model.parameters()) > 1e6)
print(files("vita_clip_hf.hub_cards").joinpath("handler.py").is_file())
"""


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The folder of programs of a new virtual environment with the wheel. What the wheel needs is not installed again:
    the environment sees the packages of this one, but not its installation of this project, which is an editable one.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    install = ("install", "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=folder)
    place = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # After the installation, which must not see what it would replace.
    (Path(place) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


def test_the_installed_command_says_its_version_and_its_help(environment, tmp_path):
    version = importlib.metadata.version("vita-clip-hf")
    assert version in run(environment / "vita-clip", "--version", cwd=tmp_path)
    assert "predict" in run(environment / "vita-clip", "--help", cwd=tmp_path)


def test_the_installed_package_loads_what_ships_with_it(environment, tmp_path):
    place, *found = run(environment / "python", "-c", LOAD, cwd=tmp_path, HF_HUB_OFFLINE="1").split()
    assert Path(place).is_relative_to(environment.parent)
    assert found == ["True", "True"]


def test_the_installed_command_names_what_a_video_shows(environment, tmp_path):
    write_rising_video(tmp_path / "video.mp4")
    model = ("--model", "package://vita_clip_hf/demo/tiny_clip", "--labels", "red circle", "blue star")
    run(
        environment / "vita-clip",
        "predict",
        "video.mp4",
        *model,
        "--output",
        "results.csv",
        cwd=tmp_path,
        HF_HUB_OFFLINE="1",
    )
    results = (tmp_path / "results.csv").read_text(encoding="utf-8")
    assert all(word in results for word in ("video.mp4", "red circle", "blue star"))
