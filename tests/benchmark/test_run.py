"""The benchmark from the command line to its files, on a model so small that all of it takes seconds."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers.utils import is_torchao_available

from vita_clip_hf.benchmark import BenchmarkSettings, run_benchmark
from vita_clip_hf.benchmark import contenders as contenders_module
from vita_clip_hf.benchmark import oracle as oracle_module
from vita_clip_hf.benchmark.arguments import add_arguments, settings_from
from vita_clip_hf.benchmark.contenders import available_contenders
from vita_clip_hf.benchmark.markdown import render_table, render_tables, with_section
from vita_clip_hf.benchmark.memory_table import plain_peak_of
from vita_clip_hf.benchmark.peak_memory import measure_peak_memory
from vita_clip_hf.benchmark.profile_table import kind_of
from vita_clip_hf.benchmark.settings import CASES
from vita_clip_hf.benchmark.tables import Table, merge_tables, read_tables, write_tables
from vita_clip_hf.benchmark.video_files import limit_of
from vita_clip_hf.benchmark.works import prepare_work
from vita_clip_hf.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = BenchmarkSettings(
    model="tiny", frames=2, batch=1, classes=3, contexts=2, rounds=1, warmup=0, measure_memory=False,
    clips_from_files=2, workers=(0,), scale_frames=(1, 2), scale_classes=(2, 4), scale_batch=(1, 2),
    scale_views=(1, 2), scale_size=("tiny",),
)  # fmt: skip
RUN = {"command": "c", "date": "d", "cpu": "p", "cores": 2, "threads": 2, "python": "3", "versions": {"torch": "2"}}
SPREAD = {"median": 0.5, "minimum": 0.4, "q1": 0.45, "q3": 0.6, "rounds": 3}


def rows_of(table: Table) -> dict[str, dict]:
    return {row["contender"]: row for row in table.rows}


def test_every_contender_is_timed_and_vita_equals_the_equations(tmp_path):
    tables = run_benchmark(replace(TINY, cases=("forward", "train", "text", "latency")), out=tmp_path, quiet=True)
    assert [table.key.split("-")[0] for table in tables] == ["forward", "train", "text", "latency"]
    for table in tables:
        rows = rows_of(table)
        assert rows["vita"]["difference"] < 1e-4
        assert rows["vita"]["gflop"] < rows["plain"]["gflop"]
        assert rows["vita"]["time"]["median"] > 0
        assert rows["vita"]["speedup_over_plain"]["rounds"] == 1
    assert rows_of(tables[0])["vita"]["ratio_to_clip"] is not None
    assert set(rows_of(tables[1])) == {"plain", "vita"}  # CLIP and X-CLIP learn no prompts
    assert "vita, asked again" in rows_of(tables[2])
    written = json.loads((tmp_path / "cpu.json").read_text())
    assert written["format"] == 1
    assert [set(table) for table in written["tables"]] == 4 * [{"key", "title", "note", "columns", "rows", "run"}]
    assert (tmp_path / "cpu.md").read_text() == render_tables(read_tables(tmp_path / "cpu.json"))


@pytest.mark.skipif(not is_torchao_available("0.17.0"), reason="needs torchao 0.17 or newer")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_base_in_int8_is_for_inference_on_clips_and_near_the_equations(dtype):
    names = ("plain", "vita", "vita-int8")
    settings = replace(TINY, cases=("forward", "train", "text", "latency"), contenders=names, dtypes=(dtype,))
    tables = run_benchmark(settings, quiet=True)
    assert ["vita-int8" in rows_of(table) for table in tables] == [True, False, False, True]
    forward, latency = (rows_of(tables[position])["vita-int8"] for position in (0, 3))
    assert 1e-4 < forward["difference"] < 0.02
    assert latency["difference"] < 0.5
    for row in (forward, latency):
        assert row["note"] is None  # an approximation is no error
        assert row["gflop"] is None
        assert row["time"]["median"] > 0


def test_bfloat16_infers_in_its_weights_and_trains_by_autocast():
    work = prepare_work("forward", "vita", TINY, torch.bfloat16)
    assert work.call().dtype == torch.bfloat16
    assert prepare_work("train", "vita", TINY, torch.bfloat16).call().isfinite()


@pytest.mark.parametrize("axis", ["frames", "classes", "batch", "views", "size"])
def test_every_axis_has_its_points(axis):
    settings = replace(TINY, cases=(f"scaling-{axis}",), contenders=("clip", "vita"))
    (table,) = run_benchmark(settings, quiet=True)
    own = [row for row in table.rows if row["contender"] == "vita"]
    assert len(own) == len(getattr(TINY, f"scale_{axis}"))
    assert all(row["time_per_unit"]["median"] > 0 for row in own)
    if axis == "batch":
        # Global prompts become keys and values once, for however many clips.
        assert 0.8 < own[-1]["growth_of_gflop"] <= 1


def test_files_are_decoded_trained_on_and_classified():
    pytest.importorskip("av")
    decode, files = run_benchmark(replace(TINY, cases=("decode", "files")), quiet=True)
    assert [row["step"] for row in decode.rows][-1] == "loader"
    assert all(row["frames_per_second"] > 0 for row in decode.rows)
    assert {row["limit"] for row in files.rows if "from files" in row["step"]} <= {"the model", "the input"}


def test_memory_is_measured_in_a_process_of_its_own():
    use = measure_peak_memory("train", "vita", TINY, "float32")
    assert use.peak_bytes > 49_408 * 32 * 4  # the token embedding alone


def test_memory_is_compared_with_that_of_the_plain_equations_alone():
    rows = [
        {"contender": "vita", "step": "train", "units": "1 clips", "peak_bytes": 5},
        {"contender": "plain", "step": "train", "units": "2 clips", "peak_bytes": 7},
    ]
    assert plain_peak_of(rows, "train", "1 clips") is None
    assert plain_peak_of(rows, "train", "2 clips") == 7


def test_a_profile_says_what_a_step_is_made_of():
    (table,) = run_benchmark(replace(TINY, cases=("profile",), dtypes=("bfloat16",)), quiet=True)
    by_contender: dict[str, dict[str, dict]] = {}
    for row in table.rows:
        by_contender.setdefault(row["contender"], {})[row["step"]] = row
    assert set(by_contender) == {"vita", "vita-bf16"}
    for rows in by_contender.values():
        assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
        assert {"matrix products", "layer norms", "activations", "optimizer"} <= set(rows)
    copies = [next(row for kind, row in rows.items() if kind.startswith("copies")) for rows in by_contender.values()]
    assert copies[0]["calls"] > copies[1]["calls"]  # casts of frozen weights


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::addmm", "matrix products"),
        ("aten::add_", "sums and products by element"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "fused attention, forwards"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "fused attention, backwards"),
        ("autograd::engine::evaluate_function: AddmmBackward0", "the rest, hundreds of small calls"),
    ],
)
def test_operations_are_sorted_by_kind(operation, kind):
    assert kind_of(operation) == kind


def test_the_limit_is_the_input_where_files_slow_the_model_down():
    assert limit_of(0.99) == "the model"
    assert limit_of(0.5) == "the input"


# ---- errors ----


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cases": ("speed",)}, "Unknown case 'speed'; expected one of forward"),
        ({"contenders": ("blip",)}, "Unknown contender"),
        ({"dtypes": ("int4",)}, "Unknown dtype"),
        ({"rounds": 0}, "rounds must be at least 1, found 0"),
        ({"scale_batch": (0,)}, "scale_batch"),
    ],
)
def test_bad_settings_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        BenchmarkSettings(**fields)


def test_errors_on_the_command_line_are_one_line(capsys):
    for arguments, message in (
        (["speed"], "Unknown case"),
        (["--model", "no-such-size"], "no-such-size"),
        (["--device", "abacus"], "abacus"),
        (["decode", "--videos", "missing.mp4"], "missing.mp4"),
        (["--render-only"], "--report"),
    ):
        assert main(["benchmark", "--no-memory", *arguments]) == 1
        assert message in capsys.readouterr().err


def test_without_a_checkout_the_oracle_is_left_out_or_asked_for_in_vain(monkeypatch, tmp_path):
    monkeypatch.setattr(oracle_module, "ORACLE", tmp_path / "plain_vita_clip.py")
    monkeypatch.setattr(contenders_module, "is_torchao_available", lambda: False)
    assert available_contenders(TINY) == ("clip", "xclip", "vita", "vita-bf16", "vita-checkpoint")
    with pytest.raises(FileNotFoundError, match="checkout"):
        run_benchmark(replace(TINY, cases=("forward",), contenders=("plain",)), quiet=True)


# ---- tables and pages ----


def test_a_table_leaves_out_columns_without_a_value_and_marks_empty_cells():
    rows = [{"contender": "clip", "time": SPREAD, "gflop": 2.0}, {"contender": "vita", "note": "out of memory"}]
    text = render_table(Table("k", "Title", "Note.", ["contender", "time", "gflop", "peak_bytes", "note"], rows, RUN))
    assert "| `CLIPModel` | 500.0 ms | 2.00 | – |" in text  # noqa: RUF001
    assert "| **Vita-CLIP** | – | – | out of memory |" in text  # noqa: RUF001
    assert "peak memory" not in text


def test_later_tables_replace_earlier_ones_of_their_key(tmp_path):
    first, second = (Table("k", title, "", ["contender"], [{"contender": "vita"}], RUN) for title in ("old", "new"))
    other = Table("other", "kept", "", ["contender"], [], RUN)
    write_tables(merge_tables([first, other], [second]), tmp_path / "cpu.json")
    assert [table.title for table in read_tables(tmp_path / "cpu.json")] == ["new", "kept"]
    assert [path.name for path in tmp_path.iterdir()] == ["cpu.json"]


def test_a_file_that_holds_no_results_is_named(tmp_path):
    (tmp_path / "cpu.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cpu\.json"):
        read_tables(tmp_path / "cpu.json")


def test_a_page_keeps_its_words_around_the_tables():
    page = "before\n<!-- benchmark: cpu -->\nold\n<!-- end -->\nafter\n"
    replaced = with_section(page, "cpu", "new", "page.md")
    assert replaced == "before\n<!-- benchmark: cpu -->\n\nnew\n<!-- end -->\nafter\n"
    assert with_section(replaced, "cpu", "new", "page.md") == replaced
    with pytest.raises(ValueError, match=r"page\.md"):
        with_section(page, "cuda", "new", "page.md")


def test_the_committed_page_shows_the_committed_results():
    page = REPOSITORY / "docs" / "performance.md"
    content = page.read_text(encoding="utf-8")
    for device in ("cpu", "cuda"):
        tables = read_tables(page.with_suffix("") / f"{device}.json")
        if tables:
            assert with_section(content, device, render_tables(tables), page.name) == content


def test_help_names_every_case_and_quick_is_the_tiny_model():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = parser.format_help()
    assert all(case.partition("-")[0] in text for case in CASES)
    settings = settings_from(parser.parse_args(["scaling", "--quick", "--device", "cpu"]))
    assert settings.model == "tiny"
    assert len(settings.expanded_cases) == 5
