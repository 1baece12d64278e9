"""The drill finds each fault that it looks for; a short form of it finds none in the library."""

import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hostile import drill, isolation
from hostile.isolation import Outcome, attempt
from hostile.page import marks, put_table

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="measures by Linux' /proc")


def crash():
    faulthandler.disable()  # of pytest: it would print to the terminal
    os.kill(os.getpid(), signal.SIGSEGV)


def hang():
    time.sleep(60)


def hang_in_a_child():
    subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])


def grow():
    return str(len(bytearray(b"x") * (isolation.GROWTH_MB + 200 << 20)))


def grow_in_a_child():
    program = f"x = bytearray(b'x') * ({isolation.GROWTH_MB} + 200 << 20); import time; time.sleep(0.3)"
    subprocess.run([sys.executable, "-S", "-c", program])
    return "a child's memory"


def raise_(error):
    raise error


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (lambda: "3 frames", "read"),
        (lambda: raise_(OSError("a.mp4: no such file")), "refused"),
        (lambda: raise_(ValueError("a.mp4: two\nlines")), "unclear"),
        (lambda: raise_(ValueError("no name")), "unclear"),
        (lambda: raise_(KeyError("a.mp4")), "traceback"),
        (lambda: raise_(UnicodeDecodeError("utf-8", b"a.mp4", 0, 1, "a.mp4")), "traceback"),
        (lambda: raise_(SystemExit(3)), "traceback"),
        (crash, "crash"),
        (lambda: os._exit(3), "crash"),
        (hang, "hang"),
        (hang_in_a_child, "hang"),
        (grow, "growth"),
        (grow_in_a_child, "growth"),
    ],
)
def test_each_outcome_is_told_apart(function, result, tmp_path):
    outcome = attempt(function, "a.mp4", tmp_path, seconds=1.0 if result == "hang" else 120.0)
    assert outcome.result == result, outcome
    # A process that ends before it tells its first size counts as its parent, which is large if all tests run in one.
    if result not in ("hang", "crash"):
        assert (outcome.growth_mb > isolation.GROWTH_MB) == (result == "growth")


def test_what_only_a_refusal_is_right_for_is_not_read(tmp_path):
    assert attempt(lambda: "read", "a", tmp_path, must_refuse=True).result == "accepted"
    assert attempt(lambda: raise_(OSError("a")), "a", tmp_path, must_refuse=True).result == "refused"


def test_every_number_gives_the_same_input_again(tmp_path):
    from hostile import mutants

    base = tmp_path / "base.mp4"
    base.write_bytes(b"\0\0\0\x18ftypisom" + bytes(range(256)) * 20)
    contents = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        contents.append([mutants.write_mutant(number, 7, [base], folder)[0].read_bytes() for number in range(60)])
    assert contents[0] == contents[1]
    assert len(set(contents[0])) > 50
    assert contents[0].count(base.read_bytes()) >= 3  # whole ones


def test_an_execution_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(drill, "inputs", canaries)
    drill.run("urls", range(3), 0, tmp_path, None)
    assert [record["result"] for record in drill.records(tmp_path)] == ["read", "execution", "refused"]
    assert (tmp_path / "faults/urls-0-1/canary").is_dir()


@drill.contextmanager
def canaries(*_):
    def make(number, folder):
        calls = (lambda: "fine", lambda: os.mkdir("canary") or "fine", lambda: raise_(OSError("a")))
        return calls[number], "a", "test", False

    yield make


def test_what_was_tried_is_not_tried_again_and_shards_add_up(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(drill, "inputs", canaries)
    tried = []
    monkeypatch.setattr(drill, "attempt", lambda *a: tried.append(a) or Outcome("read", "", 0.1, 5))
    drill.run("videos", range(0, 3, 2), 0, tmp_path, None, "0/2")
    drill.run("videos", range(3), 0, tmp_path, None)
    assert len(tried) == 2 + 1 + 2  # and the honest twin each time
    assert "| videos | 3 | 3 | 0 |" in drill.table(drill.records(tmp_path))


def test_shards_wait_while_one_writes_what_is_damaged(tmp_path):
    entered = threading.Event()

    def other_shard():
        with drill.one_at_a_time(tmp_path):
            entered.set()

    thread = threading.Thread(target=other_shard)
    with drill.one_at_a_time(tmp_path):
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(60)
    thread.join()


def test_the_table_stands_between_the_marks_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    begin, end = marks("drill")
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    record = {"kind": "videos", "seed": 0, "number": 0, "what": "", "message": "", "seconds": 1.25, "growth_mb": 1234}
    put_table(page, "drill", drill.table([{**record, "result": "hang"}, {**record, "result": "unclear"}]))
    text = page.read_text()
    assert text.startswith("before\n<!--")
    assert text.endswith("-->\nafter\n")
    assert "| videos | 2 | 0 | 0 | 0 | 1 | 0 | 0 | 0 | 1 | 1.2 | 1,234 |" in text
    assert "old" not in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match=r"page\.md: has no lines"):
        put_table(page, "drill", drill.table([]))


def test_no_fault_in_a_short_drill(tmp_path):
    command = [sys.executable, "-m", "hostile.drill", "--count", "12", "--seconds", "120", "--out", str(tmp_path)]
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "PYTHONPATH": tests, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr[-2000:]}"
    assert len(drill.records(tmp_path)) == 12 * len(drill.COUNTS)
