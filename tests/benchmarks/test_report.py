"""Tables from rows, and their place in the page."""

from pathlib import Path

import pytest

from benchmarks.report import growth_exponent, merge_into, read_tables, render_table, with_tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
RUN = {
    **{"command": "c", "date": "d", "processor": "Processor X", "instructions": ["avx2", "amx_bf16"]},
    **{"cores": 2, "threads": 2, "versions": {"torch": "2"}},
}


def table(key: str, rows: list[dict], units: str | None = None, title: str = "Title") -> dict:
    return {"key": key, "title": title, "note": "Note.", "units": units, "rows": rows, "run": RUN}


def row(contender: str, seconds: list[float], **fields) -> dict:
    return {"label": contender, "contender": contender, "seconds": seconds, **fields}


def test_a_ratio_is_taken_round_by_round_and_like_with_like():
    # The machine was ten times slower in the second round: the ratios do not show it.
    rows = [
        row("clip-compiled", [1.0, 10.0, 1.0]),
        row("vita-compiled", [0.9, 9.0, 0.9]),
        row("clip", [2.0, 20.0, 2.0]),
        row("vita", [1.0, 10.0, 1.0]),
        row("plain", [3.0]),
    ]
    text = render_table(table("forward", rows))
    assert "### Title: Processor X with AMX" in text
    assert "| vita-compiled | 900.0 ms | 0.90 (0.90 to 0.90) | – |" in text  # noqa: RUF001
    assert "| vita | 1.00 s | 0.50 (0.50 to 0.50) | 3.00 |" in text
    assert "| plain | 3.00 s | 1.50 | – |" in text  # noqa: RUF001


def test_utilisation_is_operations_per_second_over_those_of_the_matrix_product():
    rows = [row("vita", [2.0], gflop=50.0), row("matrix product", [1.0], gflop=50.0)]
    text = render_table(table("forward", rows))
    assert "| vita | 2.00 s | 50 | 50% |" in text
    assert "| matrix product" not in text


def test_columns_without_a_value_are_left_out():
    text = render_table(table("memory", [{"label": "vita", "contender": "vita", "note": "out of memory"}]))
    assert "|  | note |" in text
    assert "| vita | out of memory |" in text


def test_growth_is_the_exponent_of_the_cost():
    units = [4.0, 8.0, 16.0]
    assert growth_exponent(units, [3 * n for n in units]) == pytest.approx(1)
    assert growth_exponent(units, [3 * n**2 for n in units]) == pytest.approx(2)
    rows = [row("vita", [float(n**2)], gflop=float(n), units=n) for n in (4, 8)]
    text = render_table(table("growth-frames", rows, units="frames"))
    assert "With the number n of frames: vita: time grows as n^2.00, operations as n^1.00." in text


def test_later_tables_replace_earlier_ones_of_their_key(tmp_path):
    merge_into(tmp_path / "cpu.json", [table("text", [], title="old"), table("train", [], title="kept")])
    merge_into(tmp_path / "cpu.json", [table("text", [], title="new")])
    assert [each["title"] for each in read_tables(tmp_path / "cpu.json")] == ["new", "kept"]


def test_a_file_that_holds_no_results_is_named(tmp_path):
    (tmp_path / "cpu.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cpu\.json"):
        read_tables(tmp_path / "cpu.json")


def test_a_page_keeps_its_words_around_the_tables_and_machines_stand_side_by_side():
    page = "before\n<!-- tables -->\nold\n<!-- end -->\nafter\n"
    machines = [[table("train-b", [], title=name), table("forward-a", [], title=name)] for name in ("one", "two")]
    replaced = with_tables(page, machines)
    assert replaced.startswith("before\n")
    assert replaced.endswith("<!-- end -->\nafter\n")
    titles = [line for line in replaced.splitlines() if line.startswith("###")]
    assert [title.split()[1] for title in titles] == ["one:", "two:", "one:", "two:"]
    assert with_tables(replaced, machines) == replaced
    with pytest.raises(ValueError, match="has no lines"):
        with_tables("nothing", machines)


def test_the_committed_page_shows_the_committed_results():
    content = PAGE.read_text(encoding="utf-8")
    files = sorted(PAGE.with_suffix("").glob("*.json"))
    assert with_tables(content, map(read_tables, files)) == content
