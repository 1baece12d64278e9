"""Pictures: PNG files that appear whole, and matplotlib only where one is drawn."""

import ast
import sys
from pathlib import Path

import pytest
import torch

from vita_clip_hf import visualize
from vita_clip_hf.visualize import draw_confusion_matrix, draw_film_strip, draw_loss_curves, draw_training_curve
from vita_clip_hf.visualize.comparison import draw_accuracies

PNG_START = b"\x89PNG\r\n\x1a\n"
LABELS = ["moving left", "moving right"]
LOGITS = torch.tensor([[2.0, 1.0], [0.5, 3.0], [1.0, 0.0]])
PICTURES = {
    "training curve": lambda path: draw_training_curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}], path),
    "training curve with accuracies": lambda path: draw_training_curve(
        [{"step": 1, "loss": 2.0}, {"step": 1, "eval_top_1": 0.4}], path
    ),
    "loss curves": lambda path: draw_loss_curves({"one": [(1, 2.0), (2, 1.0)], "two": [(1, 2.1), (2, 0.9)]}, path),
    "one loss curve": lambda path: draw_loss_curves({"one": [(1, 2.0), (2, 1.0)]}, path),
    "accuracies of rows": lambda path: draw_accuracies({"a": {"top-1": (0.5, 0.1)}, "b": {"top-1": (0.6, 0.0)}}, path),
    "confusion matrix": lambda path: draw_confusion_matrix(torch.tensor([[0.9, 0.1], [0.0, 1.0]]), LABELS, path),
    "film strip": lambda path: draw_film_strip(
        torch.zeros(3, 4, 3, 16, 16, dtype=torch.uint8), ["moving left"] * 3, {"CLIP": LOGITS}, LABELS, path
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_one_whole_png_file(name, tmp_path):
    pytest.importorskip("matplotlib")
    PICTURES[name](tmp_path / "picture.png")
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG_START)


def test_no_module_imports_matplotlib_before_a_picture_is_drawn():
    sources = [path.read_text(encoding="utf-8") for path in Path(visualize.__file__).parent.glob("*.py")]
    at_once = [
        node for source in sources for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert at_once
    assert not any("matplotlib" in ast.unparse(node) for node in at_once)


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"vita-clip-hf\[demo\]"):
        PICTURES["loss curves"](tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["$x^{2 $", "a_b$", "{}%", "漢字 😀", "x" * 300])
def test_names_of_any_letters_are_drawn_as_they_are(name, tmp_path):
    pytest.importorskip("matplotlib")
    labels = [name, "b"]
    draw_confusion_matrix(torch.eye(2), labels, tmp_path / "matrix.png")
    draw_loss_curves({name: [(1, 2.0), (2, 1.0)], "b": [(1, 2.1), (2, 0.9)]}, tmp_path / "curves.png")
    draw_accuracies({name: {"top-1": (0.5, 0.1)}}, tmp_path / "accuracies.png")
    frames = torch.zeros(1, 2, 3, 16, 16, dtype=torch.uint8)
    draw_film_strip(frames, [name], {name: LOGITS[:1]}, labels, tmp_path / "strip.png")
    assert len(list(tmp_path.iterdir())) == 4


def test_letters_that_the_usual_font_lacks_are_drawn_in_another_or_named(tmp_path, monkeypatch, caplog, recwarn):
    font_manager = pytest.importorskip("matplotlib.font_manager")
    from matplotlib.ft2font import FT2Font

    def letters(family: str) -> set[str]:
        return {chr(code) for code in FT2Font(font_manager.findfont(family)).get_charmap()}

    other = min(letter for letter in letters("STIXGeneral") - letters("DejaVu Sans") if letter.isprintable())
    draw_confusion_matrix(torch.eye(2), [other, "b"], tmp_path / "drawn.png")
    assert caplog.text == ""
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    draw_confusion_matrix(torch.eye(2), [other, "b"], tmp_path / "boxes.png")
    assert f"boxes.png: no font of this machine has {other!r}" in caplog.text
    assert (tmp_path / "drawn.png").read_bytes() != (tmp_path / "boxes.png").read_bytes()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
