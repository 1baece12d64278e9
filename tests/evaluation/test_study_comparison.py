"""Rows of studies against one of them, against counting by hand; and the files that the command takes."""

import json

import pytest
from study_files import SUPERVISED, write_study

from vita_clip_hf import cli
from vita_clip_hf.evaluation.compare import compare_files
from vita_clip_hf.evaluation.studies import study_runs
from vita_clip_hf.evaluation.study_comparison import compare_study


def test_differences_are_over_the_same_seeds():
    """The differences of the two seeds are 0.45 and 0.49: 0.47 +- 12.706 * 0.02828 / sqrt(2)."""
    difference, interval = compare_study(study_runs("any", SUPERVISED)).difference("prompts", "seen_top_1")
    assert difference == pytest.approx(0.47)
    assert interval == pytest.approx((0.47 - 0.2541, 0.47 + 0.2541), abs=1e-4)


def test_one_seed_has_no_interval():
    runs = {row: figures[:1] for row, figures in SUPERVISED.items()}
    comparison = compare_study(study_runs("any", runs))
    assert comparison.difference("prompts", "seen_top_1") == (pytest.approx(0.45), None)
    page = comparison.as_markdown()
    assert "One seed" in page
    assert "| prompts | +45.0 |" in page
    assert "interval" not in page
    assert "±" not in page


def test_any_row_may_be_the_baseline():
    page = compare_study(study_runs("any", SUPERVISED), "prompts").as_markdown()
    assert "### Against prompts" in page
    assert "| frozen | -47.0 [-72.4, -21.6] |" in page
    assert "2 pairs of the same seed" in page


def test_only_the_figures_that_are_asked_for_are_shown():
    page = compare_study(study_runs("any", SUPERVISED), figures=["retention", "parameters"]).as_markdown()
    assert "| method | stills by name | trained parameters |" in page
    assert "top-1" not in page
    assert "| method | stills by name |\n|---|---|\n| prompts |" in page


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"baseline": "x"}, "supervised has no row 'x'; it has 'frozen', 'prompts'"),
        ({"figures": ["top_7"]}, "supervised has no figure 'top_7'; it has parameters, seen_top_1"),
    ],
)
def test_what_is_not_in_a_study_is_named_with_what_is(asked, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        compare_files([write_study(tmp_path / "supervised.json")], **asked)


def test_the_command_prints_a_study_and_writes_page_and_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    study = write_study(tmp_path / "supervised.json")
    rates = write_study(tmp_path / "learning_rates.json", {"a": [{"top_1": 0.5}]}, seeds=[0])
    out = tmp_path / "comparison"
    assert cli.main(["compare", str(study), str(rates), "--baseline", "frozen", "--out", str(out)]) == 1
    assert "learning_rates has no row 'frozen'" in capsys.readouterr().err
    assert cli.main(["compare", str(study), str(rates), "--out", str(out)]) == 0
    printed, page = capsys.readouterr().out, (out / "comparison.md").read_text(encoding="utf-8")
    for words in ("## supervised", "| prompts | 10,000 | 52.0 ± 2.8 |", "### Against frozen", "## learning_rates"):
        assert words in printed
        assert words in page
    assert sorted(path.name for path in out.iterdir()) == ["comparison.md", "supervised.png"]
    assert "](supervised.png)" in page


def test_studies_of_one_name_are_numbered(tmp_path):
    (tmp_path / "other").mkdir()
    paths = [write_study(folder / "supervised.json") for folder in (tmp_path, tmp_path / "other")]
    page = compare_files(paths).as_markdown()
    assert "## 1_supervised" in page
    assert "## 2_supervised" in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "is no JSON"),
        ('{"a": 1, "b": 2}', "neither a report .* nor a study, which has runs; found an object with a, b"),
        ("[1]", "neither a report .* found list"),
        ("{}", "found an object with nothing in it"),
        ('{"format": 7}', "is no report of `vita-clip evaluate`"),
        ('{"runs": {"a": [{}]}}', "is no study: 'seeds'"),
    ],
)
def test_a_file_that_is_neither_is_one_clear_error(text, message, tmp_path, capsys):
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"odd\.json: .*{message}"):
        compare_files([path, path])
    assert cli.main(["compare", str(path)]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_reports_and_studies_are_not_mixed(tmp_path):
    study, report = write_study(tmp_path / "supervised.json"), tmp_path / "report.json"
    report.write_text(json.dumps({"format": 1}))
    with pytest.raises(ValueError, match=r"supervised\.json is a study and .*report\.json a report"):
        compare_files([report, study])
    with pytest.raises(ValueError, match="chosen for studies"):
        compare_files([report, report], baseline="frozen")
    with pytest.raises(OSError, match="nothing"):
        compare_files([tmp_path / "nothing.json"])
