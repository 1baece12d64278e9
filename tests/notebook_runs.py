"""
Runs the notebooks of examples/ in fresh kernels, and keeps what readers should see.

    python tests/notebook_runs.py

runs all of them and stores their outputs: after a change of a notebook, or of what it shows.
"""

import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "examples" / "notebooks"
SECONDS_A_CELL = 3600  # a busy machine may be very slow
RIGHT = re.compile(r"^(right.*): (\d+) of (\d+)$", re.MULTILINE)


def run_notebook(path: Path, folder: Path) -> nbformat.NotebookNode:
    """
    A copy of a notebook with the outputs of a run in an empty folder, offline and on one core.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook, timeout=SECONDS_A_CELL, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    own = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hub"),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    client.execute(env={**os.environ, **own})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if cell.cell_type == "code":
            cell.outputs = joined([output for output in cell.outputs if is_shown(output)])
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    return notebook


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_shown(output: nbformat.NotebookNode) -> bool:
    """Neither a progress bar nor a warning."""
    if output.output_type == "stream":
        return output.name == "stdout"
    return output.output_type != "display_data" or "image/png" in output.data


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What is printed in several parts, as it comes, is one output."""
    found: list[nbformat.NotebookNode] = []
    for output in outputs:
        if found and output.output_type == found[-1].output_type == "stream":
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def printed(notebook: nbformat.NotebookNode) -> str:
    """What all cells print."""
    streams = [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "stream"]
    return "".join(output.text for output in streams)


def right_answers(notebook: nbformat.NotebookNode) -> dict[str, tuple[int, int]]:
    """Counts of right answers that are printed, and of all, by what stands before them."""
    return {what: (int(right), int(total)) for what, right, total in RIGHT.findall(printed(notebook))}


def main() -> None:
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run_notebook(path, Path(folder)), path)


if __name__ == "__main__":
    main()
