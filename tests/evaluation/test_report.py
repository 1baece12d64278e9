"""A report in all its forms, and read again."""

import csv
import io

import pytest
import yaml
from huggingface_hub import ModelCardData, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from vita_clip_hf.evaluation import load_protocol, load_report
from vita_clip_hf.evaluation.report import Part, Report
from vita_clip_hf.evaluation.summary import summarise


def toy_report(values=(0.5, 0.75), partial=False, protocol="zero-shot-ucf101", **data) -> Report:
    parts = [
        Part(
            f"test{n}",
            {"top_1": value, "top_5": 1.0},
            (value - 0.1, value + 0.1),
            40,
            101,
            "runs/my model",
            f"test{n}",
        )
        for n, value in enumerate(values, start=1)
    ]
    facts = {"model": "runs/my model", "dataset": "ucf101", "videos": "v", "lists": [], "counts": {}, "missing": []}
    return Report(
        models={"runs/my model": {"kind": "VitaClipModel", "num_frames": 8}},
        protocol=load_protocol(protocol).to_dict(),
        data={**facts, "unreadable": {}, "partial": partial, **data},
        parts=parts,
        figures=summarise(parts, load_protocol(protocol)),
        notes=["A note."],
        command=["vita-clip", "evaluate"],
        predictions=[{"part": "test1", "video": "a.mp4", "label": "run", "correct": True, "start": None}],
    )


def test_a_report_is_read_as_it_was_written(tmp_path):
    report = toy_report()
    path = report.save(tmp_path)
    for place in (path, tmp_path):
        again = load_report(place)
        assert again == report
        assert again.predictions == report.predictions


def test_predictions_of_an_earlier_report_do_not_stay(tmp_path):
    report = toy_report()
    report.save(tmp_path)
    report.predictions = []
    report.save(tmp_path)
    assert load_report(tmp_path).predictions is None


def test_figures_are_means_and_deviations():
    figures = toy_report((0.5, 0.75, 1.0)).figures
    assert figures["top_1_mean"] == pytest.approx(0.75)
    assert figures["top_1_deviation"] == pytest.approx((2 / 3 * 0.0625) ** 0.5)
    assert toy_report((0.5,)).figures == {"top_1": 0.5, "top_5": 1.0}


def test_the_csv_has_a_row_for_each_figure():
    rows = list(csv.DictReader(io.StringIO(toy_report().as_csv())))
    assert {(row["part"], row["figure"]): float(row["value"]) for row in rows}["test2", "top_1"] == 0.75
    assert (rows[0]["low"], rows[0]["high"], rows[0]["partial"]) == ("0.4", "0.6", "False")
    assert rows[-1]["part"] == "all"


def test_the_page_shows_the_protocol_and_whether_it_is_partial():
    page = toy_report(partial=True).as_markdown()
    assert "> PARTIAL" in page
    assert "> A note." in page
    assert "| test1 | 40 | 101 | 50.00 | 100.00 |" in page
    assert "num_frames: 8" in page
    assert "PARTIAL" not in toy_report().as_markdown()


def test_the_model_index_is_the_hubs(tmp_path):
    toy_report(partial=True).save(tmp_path)
    index = yaml.safe_load((tmp_path / "model-index.yaml").read_text())["model-index"]
    name, results = model_index_to_eval_results(index)
    assert name == "my model"
    assert {result.metric_name for result in results} >= {"top_1_mean (partial)"}
    assert results[0].metric_value == 0.625
    assert results[0].dataset_args == {"protocol": "zero-shot-ucf101", "partial": True}
    card = ModelCardData(model_name="my model", eval_results=toy_report().eval_results())
    assert "model-index" in card.to_yaml()


def test_eval_results_are_written_for_a_benchmark_on_the_hub(tmp_path):
    toy_report().save(tmp_path)
    assert not (tmp_path / ".eval_results").exists()
    toy_report().save(tmp_path, hub_dataset="user/ucf101")
    entries = parse_eval_result_entries(
        yaml.safe_load((tmp_path / ".eval_results" / "zero-shot-ucf101.yaml").read_text())
    )
    assert (entries[0].dataset_id, entries[0].task_id, entries[0].value) == ("user/ucf101", "top_1_mean", 62.5)
    assert "zero-shot-ucf101" in entries[0].notes


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 2}', '{"format": 1, "parts": []}'])
def test_another_file_is_no_report(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ValueError, match="is no report"):
        load_report(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet", b"PAR1" + bytes(100) + b"PAR1"])
def test_damaged_predictions_are_named(tmp_path, content):
    toy_report().save(tmp_path)
    (tmp_path / "predictions.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"predictions\.parquet: is damaged .*; evaluate again"):
        load_report(tmp_path)


def test_a_report_without_its_lists_is_none(tmp_path):
    path = toy_report().save(tmp_path)
    path.write_text(path.read_text().replace('"lists"', '"list"'))
    with pytest.raises(ValueError, match="its data have no lists"):
        load_report(path)


def test_a_report_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match=r"report\.json"):
        load_report(tmp_path)


def test_a_full_disk_leaves_no_report(tmp_path, monkeypatch):
    from vita_clip_hf.evaluation import report as module

    monkeypatch.setattr(
        module.json, "dumps", lambda *a, **k: (_ for _ in ()).throw(OSError("No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        toy_report().save(tmp_path)
    assert not (tmp_path / "report.json").exists()


def test_base_to_novel_takes_the_harmonic_mean_of_the_means():
    protocol = load_protocol("base-to-novel-hmdb51")
    parts = [
        Part(f"seed{seed} {half}", {"top_1": value}, None, 10, 26, "m", half, seed=seed)
        for seed, values in ((1, (0.8, 0.4)), (2, (0.6, 0.6)))
        for half, value in zip(("base", "novel"), values, strict=True)
    ]
    figures = summarise(parts, protocol)
    assert figures["base_top_1_mean"] == pytest.approx(0.7)
    assert figures["harmonic_mean"] == pytest.approx(2 * 0.7 * 0.5 / 1.2)
