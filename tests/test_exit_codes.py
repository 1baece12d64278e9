"""How a command ends: one line and a code, whatever went wrong; the traceback only for who asks for it."""

import signal
import subprocess
import sys
import time

import pytest

from vita_clip_hf.exit_codes import exit_code_of


def raising(error: BaseException):
    def run() -> None:
        raise error

    return run


class PanicException(BaseException):
    """As extensions in Rust raise it."""


class OutOfMemoryError(RuntimeError):
    """As torch raises it."""


class Destroyed:
    """A Ctrl-C comes while it is destroyed: Python prints the error and goes on."""

    def __del__(self):
        raise KeyboardInterrupt


@pytest.fixture
def heard_interrupts():
    """Programs that a shell starts in the background ignore Ctrl-C, and so would tests in them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
def test_a_ctrl_c_that_python_drops_ends_the_command_all_the_same(capsys):
    def run() -> None:
        Destroyed()
        time.sleep(20)

    start = time.monotonic()
    assert exit_code_of("vita-clip x", run) == 130
    assert time.monotonic() - start < 10
    assert capsys.readouterr().err == "vita-clip x: interrupted\n"


def test_success_and_the_commands_own_code_are_passed_on():
    assert exit_code_of("x", lambda: None) == 0
    assert exit_code_of("x", lambda: 143) == 143


@pytest.mark.parametrize("error", [OSError("a.mp4: gone"), ValueError("a.mp4: gone"), ImportError("a.mp4:\n  gone")])
def test_what_a_user_can_mend_is_one_line(error, capsys):
    assert exit_code_of("vita-clip x", raising(error)) == 1
    assert capsys.readouterr().err == "vita-clip x: a.mp4: gone\n"


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (KeyError("name"), "unexpected KeyError: 'name'"),
        (RuntimeError("a\nb"), "unexpected RuntimeError: a b"),
        (RecursionError("deep"), "unexpected RecursionError: deep"),
        (AssertionError(), "unexpected AssertionError: AssertionError"),
        (PanicException("rust"), "unexpected PanicException: rust"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "unexpected UnicodeDecodeError: 'utf-8' codec"),
    ],
)
def test_anything_else_is_one_line_that_says_how_to_see_more(error, found, capsys):
    assert exit_code_of("vita-clip x", raising(error)) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"vita-clip x: {found}")
    assert printed.endswith("Set VITA_CLIP_DEBUG=1 for the traceback, and please report it.\n")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("error", [MemoryError("8 GB"), OutOfMemoryError("8 GB")])
def test_too_little_memory_has_a_remedy(error, capsys):
    assert exit_code_of("x", raising(error)) == 1
    assert capsys.readouterr().err.startswith("x: out of memory (8 GB); a smaller batch")


def test_an_interruption_has_its_own_code(capsys):
    assert exit_code_of("x", raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "x: interrupted\n"


def test_exit_by_the_parser_is_left_alone():
    with pytest.raises(SystemExit):
        exit_code_of("x", raising(SystemExit(2)))


@pytest.mark.parametrize("error", [ValueError("gone"), KeyError("gone"), KeyboardInterrupt()])
def test_the_variable_brings_the_traceback_back(error, capsys, monkeypatch):
    monkeypatch.setenv("VITA_CLIP_DEBUG", "1")
    exit_code_of("x", raising(error))
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("VITA_CLIP_DEBUG", "0")
    exit_code_of("x", raising(error))
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_has_read_enough_ends_the_command_quietly():
    code = """
import sys
from vita_clip_hf.exit_codes import exit_code_of
sys.exit(exit_code_of("x", lambda: [print("line") for _ in range(100_000)] and None))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 1
