"""Tables in Markdown."""

from vita_clip_hf.evaluation.tables import in_percent, markdown_table


def test_a_table_has_a_rule_below_its_header_and_its_cells_keep_to_themselves():
    assert markdown_table(["a", "b"], [["1", "x|y"]]) == "| a | b |\n|---|---|\n| 1 | x\\|y |\n"


def test_shares_are_in_percent_with_the_sample_deviation():
    assert in_percent([0.5, 0.52, 0.54]) == "52.0 ± 2.0"
    assert in_percent([0.5]) == in_percent([0.5, 0.5]) == "50.0"
    assert in_percent([0.12345], digits=2) == "12.35"
