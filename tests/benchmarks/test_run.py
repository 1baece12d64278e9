"""The programs from their command lines to their files, on a model so small that all of it takes seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.report import read_tables

REPOSITORY = Path(__file__).resolve().parents[2]


def test_cases_are_measured_kept_and_rendered(tmp_path, monkeypatch):
    pytest.importorskip("av")
    page, results = tmp_path / "page.md", tmp_path / "page" / "machine.json"
    page.write_text("<!-- tables -->\n<!-- end -->\n")
    cases = ["forward", "growth-batch", "growth-classes", "growth-size", "files", "profile"]
    options = ["--quick", "--rounds", "1", "--dtype", "float32", "--no-memory", "--workers", "0"]
    options += ["--contenders", "vita", "--out", str(results), "--render", str(page)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *cases, *options])
    main()
    tables = read_tables(results)
    assert [table["key"].partition("-tiny")[0] for table in tables] == cases
    assert [len(table["rows"]) for table in tables] == [2, 3, 3, 2, 3, 12]  # with the matrix product
    assert page.read_text().count("### ") == len(cases)
    assert sum(entry["share"] for entry in tables[-1]["rows"]) <= 1


def test_two_environments_take_turns():
    options = ["--quick", "--rounds", "2", "--cases", "train", "--dtype", "float32", "--cpu-kernels"]
    command = [sys.executable, "benchmarks/against.py", sys.executable, *options]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    names = [line[:32].strip() for line in finished.stdout.splitlines()[1:]]
    assert names == ["train float32", "train float32, CPU kernels"]


def test_an_unknown_case_is_an_error_that_names_the_known_ones(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "unknown case 'speed'; expected one of forward" in capsys.readouterr().err
