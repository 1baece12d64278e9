"""Lists of class names, from the package and from files."""

import json

import pytest

from vita_clip_hf.names import known_label_lists, load_labels


def test_kinetics_400_ships_in_the_order_of_its_ids():
    labels = load_labels("k400")
    assert "k400" in known_label_lists()
    assert (len(labels), labels[0], labels[-1]) == (400, "abseiling", "zumba")


def test_the_shipped_order_is_that_of_the_released_checkpoints(shared_dir):
    order = shared_dir / "data" / "labels" / "vita_clip_k400_class_order.json"
    assert load_labels("k400") == load_labels(order) == json.loads(order.read_text())
    assert load_labels(shared_dir / "data" / "labels" / "kinetics_400_labels.csv")[:2] == ["abseiling", "air drumming"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "moving left\n\nmoving right\n"),
        ("names.json", '["moving left", "moving right"]'),
        ("names.csv", "id,name\n1,moving right\n0,moving left\n"),
    ],
)
def test_files_of_three_forms_are_read(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert load_labels(tmp_path / name) == load_labels(["moving left", "moving right"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("names.txt", "", "list of labels is empty"),
        ("names.txt", "a\nb\na\n", "found 'a' more than once"),
        ("names.json", '{"a": 1}', r"names\.json holds a dict; expected a list"),
        ("names.json", "[", r"names\.json is not JSON"),
        ("names.csv", "a,b\n1,2\n", "expected the columns id, name, comma-separated; id, name not among a, b"),
        ("names.csv", "id,name\n1,a\n2,b\n", "expected the ids 0 to 1"),
        ("names.txt", "0. a\n1. b\n", "line 1: expected a name alone on each line, found '0. a'"),
        ("names.txt", "a,1\nb,0\n", "line 1: expected a name alone on each line, found 'a,1'"),
        ("names.txt", "archery 1\nbowling 2\n", "line 1: expected a name alone on each line, found 'archery 1'"),
        ("names.tsv", "id\tname\n0\ta\n", "line 1: expected a name without quotes.* found 'id.*name'"),
        ("names.txt", "a b\nc d,\n", "line 2: expected a name without quotes.* found 'c d,'"),
        ("names.txt", "'a b'\n'c d'\n", "line 1: expected a name without quotes"),
        ("names.txt", "a\n# the last\nb\n", "line 2: expected a name without quotes.* found '# the last'"),
        ("names.txt", "label\na\nb\n", "line 1: expected a name without quotes.* no heading; found 'label'"),
    ],
)
def test_other_content_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_labels(tmp_path / name)


@pytest.mark.parametrize("content", ["50 m race\n100 m race\n", "1.5 m jump\ntake 2\n", "don't, won't\nJones'\n7\n"])
def test_names_with_numbers_quotes_and_commas_are_names(tmp_path, content):
    (tmp_path / "names.txt").write_text(content)
    assert load_labels(tmp_path / "names.txt") == content.splitlines()


def test_a_list_that_is_not_there_is_named_beside_those_that_are():
    with pytest.raises(OSError, match=r"k999: no such list of labels; .* ship here: k400"):
        load_labels("k999")
