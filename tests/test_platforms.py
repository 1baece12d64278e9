"""The code runs where Linux's own facilities are missing: each use of one is known, and text has one encoding."""

import ast
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("modeling", "vita_clip_hf", "hub_cards", "examples", "benchmarks")
PAGE = REPOSITORY / "docs" / "platforms.md"

# Modules, attributes and arguments that some systems lack or mean otherwise.
MODULES = frozenset({"resource", "fcntl", "pwd", "grp", "termios", "pty"})
ATTRIBUTES = frozenset(
    (
        *("memfd_create", "fork", "sched_getaffinity", "uname", "getuid", "geteuid", "mkfifo", "killpg", "setsid"),
        *("symlink", "symlink_to", "link", "hardlink_to", "sysconf", "getppid", "kill", "ftruncate", "statvfs"),
        *("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "SIGCHLD", "AF_UNIX", "CTRL_C_EVENT", "O_NOFOLLOW"),
    )
)
ARGUMENTS = frozenset({"pass_fds", "preexec_fn", "start_new_session", "prot", "dir_fd"})

# What has another way, by file: docs/platforms.md lists each of these files.
KNOWN = {
    "modeling/video_decoding_vita_clip.py": {"/proc", "ftruncate", "getppid", "resource", "symlink_to"},
    "modeling/video_reading_vita_clip.py": {"/proc", "fork", "memfd_create", "pass_fds", "sysconf"},
    "modeling/video_source_vita_clip.py": {"/proc"},
    "vita_clip_hf/benchmark.py": {"resource"},
    "vita_clip_hf/hub/staging.py": {"link"},
    "vita_clip_hf/training/command.py": {"/proc", "getppid"},
    "vita_clip_hf/training/run_folder.py": {"CTRL_C_EVENT", "kill"},
    "benchmarks/peak_memory.py": {"/proc"},
    "benchmarks/report.py": {"/proc"},
}


def python_files() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.py"))]


# ---- what only some systems have ----


def facilities(source: str) -> set[str]:
    """Names of what is used, asked for by `hasattr` or `getattr`, or imported; "/proc" for its files."""
    tree = ast.parse(source)
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= ({node.module} & MODULES) | ({alias.name for alias in node.names} & ATTRIBUTES)
        elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES and not is_of_process(node):
            found.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg in ARGUMENTS:
            found.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found |= {node.value} & ATTRIBUTES
            if node.value.startswith(("/proc/", "/sys/", "/dev/")):
                found.add("/" + node.value.split("/")[1])
    return found


def is_of_process(node: ast.Attribute) -> bool:
    """`process.kill()` is everywhere; `os.kill` is not."""
    return node.attr == "kill" and not (isinstance(node.value, ast.Name) and node.value.id == "os")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import os\nos.fork()", "fork"),
        ("from os import fork", "fork"),
        ("import fcntl", "fcntl"),
        ("hasattr(os, 'memfd_create')", "memfd_create"),
        ("subprocess.Popen([], pass_fds=[1])", "pass_fds"),
        ("open(f'/proc/{pid}/stat')", "/proc"),
        ("path.symlink_to(other)", "symlink_to"),
        ("os.kill(1, 0)", "kill"),
    ],
)
def test_a_facility_is_found(source, name):
    assert facilities(source) == {name}


def test_other_names_are_no_facilities():
    assert facilities('"""Of /proc/self."""\nprocess.kill()\nPath.home()\ntext = "fork it"') == set()


def test_every_use_of_what_some_systems_lack_is_known_and_on_the_page():
    used = {
        path.relative_to(REPOSITORY).as_posix(): names
        for path in python_files()
        if (names := facilities(path.read_text(encoding="utf-8")))
    }
    assert used == KNOWN
    page = PAGE.read_text(encoding="utf-8")
    assert [file for file in KNOWN if f"`{file}`" not in page] == []


def test_a_copy_is_published_where_files_cannot_be_linked(tmp_path, monkeypatch):
    from vita_clip_hf.hub import staging

    def refuse(source, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"weights")
    staging._copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"weights"
    assert (tmp_path / "b").stat().st_nlink == 1


def test_the_launcher_is_named_in_general_where_its_command_is_not_known(monkeypatch):
    from vita_clip_hf.training.command import resume_command

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(os, "getppid", lambda: 2**22 + 1)  # no process: its file is not there
    resumed = "accelerate launch train.py --train a --resume_from_checkpoint auto"
    assert resume_command("train.py", ["--train", "a"]) == resumed


def test_no_peak_memory_is_given_without_resource(monkeypatch):
    import torch

    from vita_clip_hf.benchmark import _peak_bytes

    monkeypatch.setitem(sys.modules, "resource", None)
    assert _peak_bytes(torch.device("cpu")) is None


# ---- text ----


# Where `open`-like functions have their mode, and what it is by default; a method of a path has it first.
MODES = {"open": (1, "r"), "fdopen": (1, "r"), "NamedTemporaryFile": (0, "w+b"), "TemporaryFile": (0, "w+b")}
# Functions called `open` that open no text, by what stands before the dot.
NO_TEXT_OF = frozenset({"av.open", "Image.open", "os.open"})
MODULES_WITH_OPEN = frozenset({"io", "gzip", "bz2", "lzma"})


def calls_without_encoding(source: str) -> Iterator[int]:
    """Lines that open text in the encoding of the system, which is not UTF-8 on Windows."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and not {"encoding", None} & {keyword.arg for keyword in node.keywords}:
            name = ast.unparse(node.func).rpartition(".")
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            is_text = {"text", "universal_newlines"} & given.keys() and name[2] in ("run", "Popen", "check_output")
            is_paths = name[2] in ("read_text", "write_text") and name[1]  # without a dot it is a function of ours
            if is_text or is_paths or (name[2] in MODES and opens_text(name, node, given)):
                yield node.lineno


def opens_text(name: tuple[str, str, str], node: ast.Call, given: dict[str | None, ast.expr]) -> bool:
    place, default = MODES[name[2]]
    if "".join(name) in NO_TEXT_OF:
        return False
    if name[1] and name[2] == "open" and name[0] not in MODULES_WITH_OPEN:
        place = 0
    mode = given.get("mode", node.args[place] if len(node.args) > place else ast.Constant(default))
    return isinstance(mode, ast.Constant) and "b" not in str(mode.value)


@pytest.mark.parametrize(
    "source",
    [
        "open('a')",
        "open('a', 'w')",
        "path.open()",
        "path.open('w', newline='')",
        "path.read_text()",
        "path.write_text('a')",
        "os.fdopen(3)",
        "tempfile.NamedTemporaryFile('w')",
        "subprocess.run([], text=True)",
        "gzip.open('a', 'rt')",
    ],
)
def test_text_without_an_encoding_is_found(source):
    assert list(calls_without_encoding(source)) == [1]


@pytest.mark.parametrize(
    "source",
    [
        "open('a', 'rb')",
        "open('a', encoding='utf-8')",
        "path.open('rb')",
        "path.read_text(encoding='utf-8')",
        "read_text(path)",
        "tempfile.TemporaryFile()",
        "av.open('a', 'w')",
        "subprocess.run([], encoding='utf-8')",
    ],
)
def test_text_with_an_encoding_and_bytes_are_fine(source):
    assert list(calls_without_encoding(source)) == []


# `open` of these files opens no text: a decoder's `open()`.
NO_TEXT = {("modeling/video_decoding_vita_clip.py", "file.open()")}


def test_no_text_is_opened_in_the_encoding_of_the_system():
    found = set()
    for path in python_files():
        name, source = path.relative_to(REPOSITORY).as_posix(), path.read_text(encoding="utf-8")
        lines = source.splitlines()
        found |= {(name, lines[number - 1].strip()) for number in calls_without_encoding(source)}
    assert found - NO_TEXT == set()
