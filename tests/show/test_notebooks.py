"""The notebooks run as they are, from start to end, and the outputs that are stored in them are those of a run."""

import os
import re
import sys
from pathlib import Path

import pytest

from vita_clip_hf.cli import main
from vita_clip_hf.evaluation import load_report

NOTEBOOKS = Path(__file__).resolve().parents[2] / "examples" / "notebooks"
NAMES = ("train_on_your_folder", "zero_shot_in_five_minutes")
MOST_BYTES = 200_000
# Of 48 clips: another processor rounds otherwise, and a training goes another way.
MOST_CLIPS_APART = {"train_on_your_folder": 10, "zero_shot_in_five_minutes": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Each notebook after a run, with the folder of the run, made when first asked for."""
    from notebook_runs import run_notebook

    found = {}

    def run(name):
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            found[name] = (run_notebook(NOTEBOOKS / f"{name}.ipynb", folder), folder)
        return found[name]

    return run


def stored(name):
    import nbformat

    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def test_every_notebook_is_tested_here():
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_small_valid_and_of_no_machine(name):
    import nbformat

    path = NOTEBOOKS / f"{name}.ipynb"
    text = path.read_text(encoding="utf-8")
    nbformat.validate(stored(name))
    assert len(text) < MOST_BYTES
    assert re.findall(r"/(?:home|root|tmp|usr|opt|work)/[\w./-]*", text) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_outputs_are_those_of_the_present_code(runs, name):
    """Compared are the kinds of each cell's outputs, and the counts of right answers."""
    from notebook_runs import code_cells, right_answers

    before, (now, _) = stored(name), runs(name)
    kinds = [
        [
            [(output.output_type, *sorted(output.get("data", ()))) for output in cell.outputs]
            for cell in code_cells(book)
        ]
        for book in (before, now)
    ]
    assert kinds[0] == kinds[1]
    assert [cell.execution_count for cell in code_cells(before)] == list(range(1, len(code_cells(before)) + 1))
    counts, others = right_answers(before), right_answers(now)
    assert counts.keys() == others.keys() != set()
    for what, (right, total) in counts.items():
        assert others[what][1] == total
        assert abs(others[what][0] - right) <= MOST_CLIPS_APART[name]


def test_the_training_notebook_teaches_what_the_base_cannot_know(runs):
    from notebook_runs import right_answers

    counts = right_answers(runs("train_on_your_folder")[0])
    (before, total), (after, _) = counts["right before"], counts["right after"]
    assert before < 0.5 * total < 0.75 * total <= after


def test_the_command_that_a_notebook_prints_counts_the_same_right_answers(runs, monkeypatch):
    """Issue 14's fifth point: one model from a notebook and from the command line."""
    import shlex

    from notebook_runs import right_answers

    notebook, folder = runs("zero_shot_in_five_minutes")
    (command,) = re.findall(
        r"^vita-clip (evaluate .*)$", "\n".join(cell.source for cell in notebook.cells), re.MULTILINE
    )
    monkeypatch.chdir(folder)
    cache = ["--cache", str(folder / "another_cache")]  # so that nothing of the notebook's run is used
    assert main([*shlex.split(command), *cache, "--out", "by_command"]) == 0
    (path,) = Path("by_command").rglob("report.json")
    (part,) = load_report(path).parts
    right, total = right_answers(notebook)["right"]
    assert (round(part.figures["top_1"] * part.num_videos), part.num_videos) == (right, total)
    assert 2 * total / 6 < right < total


def test_kernels_run_what_these_tests_run(tmp_path):
    """Not another Python's packages."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook
    from notebook_runs import printed, run_notebook

    nbformat.write(new_notebook(cells=[new_code_cell("import sys; print(sys.prefix)")]), tmp_path / "prefix.ipynb")
    found = printed(run_notebook(tmp_path / "prefix.ipynb", tmp_path)).strip()
    assert os.path.realpath(found) == os.path.realpath(sys.prefix)
