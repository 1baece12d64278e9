"""Studies as they are read and shown, against counting by hand."""

import pytest
from study_files import SUPERVISED, write_study

from vita_clip_hf.evaluation.studies import draw_study, load_study, study_runs, study_tables

PNG_START = b"\x89PNG\r\n\x1a\n"


def test_a_study_is_read_with_its_inner_figures(tmp_path):
    study = load_study(write_study(tmp_path / "supervised.json"))
    assert (study.name, study.num_seeds, list(study.runs)) == ("supervised", 2, ["frozen", "prompts"])
    assert study.values("prompts", "seen_top_1") == [0.5, 0.54]
    assert study.values("prompts", "retained/color") == pytest.approx([0.65, 0.67])
    assert study.values("prompts", "nothing") is None


def test_a_row_that_follows_no_seed_may_be_there_once(tmp_path):
    runs = {**SUPERVISED, "frozen": SUPERVISED["frozen"][:1]}
    assert load_study(write_study(tmp_path / "supervised.json", runs)).values("frozen", "seen_top_1") == [0.05, 0.05]


def test_tables_show_means_deviations_and_chance():
    page = study_tables(study_runs("any", SUPERVISED))
    first, second = page.split("\n### ")
    assert "| method | trained parameters | top-1 | " in first
    # sqrt(((0.50 - 0.52)^2 + (0.54 - 0.52)^2) / 1) = 2.8 %
    assert "| prompts | 10,000 | 52.0 ± 2.8 | 26.0 ± 1.4 | 56.0 ± 1.4 | 150 |" in first
    assert "| frozen | 0 | 5.0 | 2.5 | 60.0 | 150 |" in first
    assert "| *chance* |  | 7.1 | 7.1 | 16.2 |  |" in first
    assert second.startswith("Stills by name")
    assert "| prompts | 56.0 ± 1.4 | 66.0 ± 1.4 |" in second


def test_a_study_says_what_guessing_gives_where_that_is_its_own():
    of_test = {"top_1": 0.5, "chance_top_1": 0.25}
    study = study_runs("any", {"a": [{"top_1": 0.3, "chance_top_1": 0.1, "test": of_test}] * 2})
    assert study.figures() == ["top_1", "test/top_1"]
    assert "| *chance* | 10.0 |" in study_tables(study)
    assert "| *chance* | 25.0 |" in study_tables(study)
    differing = study_runs("any", {"a": [{"top_1": 0.3, "chance_top_1": 0.1}], "b": [{"top_1": 0.3}]})
    assert "chance" not in study_tables(differing)


def test_figures_that_are_not_known_are_shown_as_they_are():
    runs = {"a": [{"bytes": 1_400_188, "note": "text", "test": {"top_1": 0.5, "clips": 1400}, "loss": 0.123456}]}
    page = study_tables(study_runs("any", runs))
    assert "| method | bytes | loss |" in page
    assert "| a | 1,400,188 | 0.123 |" in page
    assert "| method | test: top-1 | test/clips |" in page
    assert "| a | 50.0 | 1,400 |" in page


def test_a_figure_that_a_row_lacks_is_an_empty_cell():
    page = study_tables(study_runs("any", {"a": [{"top_1": 0.5}], "b": [{"top_5": 1.0}]}))
    assert "| a | 50.0 |  |\n| b |  | 100.0 |" in page


@pytest.mark.parametrize(
    ("runs", "fields", "message"),
    [
        ({}, {}, "expected runs, by row"),
        ({"a": [{"top_1": 1}]}, {"seeds": []}, "a list of seeds"),
        ({"a": [{"top_1": 1}] * 3}, {}, "list of 2 objects, one of each seed, in the row 'a'"),
        ({"a": [1, 2]}, {}, "list of 2 objects, one of each seed, in the row 'a'"),
        ({"a": [{"top_1": float("nan")}] * 2}, {}, "top_1 is nan"),
    ],
)
def test_a_file_that_is_no_study_is_named_with_what_was_expected(runs, fields, message, tmp_path):
    path = write_study(tmp_path / "odd.json", runs, **fields)
    with pytest.raises(ValueError, match=rf"odd\.json: is no study: .*{message}"):
        load_study(path)


def test_the_picture_is_of_what_is_learned_against_what_is_kept(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("vita_clip_hf.evaluation.studies.draw_tradeoff", lambda *arguments: drawn.append(arguments))
    assert draw_study(study_runs("any", SUPERVISED), tmp_path / "picture.png")
    ((x, (kept, combined), sizes, seeds, path),) = drawn
    assert x.values["prompts"] == pytest.approx((0.52, 0.02828), abs=1e-4)
    assert (kept.values["frozen"], combined.values["frozen"]) == ((0.6, 0.0), (0.025, 0.0))
    assert kept.chance == pytest.approx((1 / 9 + 1 / 10 + 3 / 5) / 5)
    assert (sizes, seeds, path) == ({"frozen": 0, "prompts": 10_000}, 2, tmp_path / "picture.png")


def test_a_study_without_such_figures_has_no_picture(tmp_path):
    assert not draw_study(study_runs("any", {"a": [{"top_1": 0.5, "parameters": 1}]}), tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_picture_is_drawn(seeds, tmp_path):
    pytest.importorskip("matplotlib")
    runs = {row: figures[:seeds] for row, figures in SUPERVISED.items()}
    assert draw_study(study_runs("any", runs), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG_START)
