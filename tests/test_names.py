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
    ],
)
def test_other_content_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_labels(tmp_path / name)


def test_a_list_that_is_not_there_is_named_beside_those_that_are():
    with pytest.raises(OSError, match=r"k999: no such list of labels; .* ship here: k400"):
        load_labels("k999")
