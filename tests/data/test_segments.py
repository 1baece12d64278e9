"""Ground truth and proposals of localisation."""

import json

import pytest

from vita_clip_hf.data.segments import load_proposals, load_segments

DATABASE = {
    "one": {"subset": "validation", "annotations": [{"segment": [1, 2.5], "label": "Diving"}]},
    "two": {"subset": "training", "annotations": [{"segment": [0, 1], "label": "Archery"}]},
    "none": {"subset": "validation", "annotations": []},
}


def written(tmp_path, content) -> str:
    path = tmp_path / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_segments_of_a_subset(tmp_path):
    path = written(tmp_path, {"database": DATABASE})
    assert load_segments(path, ["validation"]) == {"one": [(1.0, 2.5, "Diving")]}
    assert set(load_segments(path)) == {"one", "two"}
    assert load_segments(path, [], ["Archery"]) == {"two": [(0.0, 1.0, "Archery")]}
    with pytest.raises(ValueError, match="has the subsets training, validation; expected test"):
        load_segments(path, ["test"])


def test_the_golden_ground_truth_is_read(shared_dir, tmp_path):
    golden = json.loads((shared_dir / "golden" / "activitynet_map.json").read_text())["activitynet_style"]
    found = load_segments(written(tmp_path, golden["ground_truth"]), ["validation"])
    assert found["v_1_000"] == [(9.02, 18.28, "action 3")]


def test_proposals(tmp_path):
    path = written(tmp_path, {"results": {"one": [{"segment": [0, 1], "score": 1}], "two": []}})
    assert load_proposals(path) == {"one": [(0.0, 1.0, 1.0)], "two": []}


@pytest.mark.parametrize(
    "content",
    [
        "[",
        [],
        {"database": []},
        {"database": {"a": 1}},
        {"database": {"a": {"annotations": [{"segment": [2, 1], "label": "x"}]}}},
        {"database": {"a": {"annotations": [{"segment": [0, "1"], "label": "x"}]}}},
        {"database": {"a": {"annotations": [{"segment": [0, 1]}]}}},
        {"database": {}},
        '{"database": {"a": {"annotations": [{"segment": [0, NaN], "label": "x"}]}}}',
    ],
)
def test_other_ground_truth_is_named(tmp_path, content):
    with pytest.raises(ValueError, match=r"file\.json"):
        load_segments(written(tmp_path, content))


@pytest.mark.parametrize("results", [[], {"a": [{"segment": [0, 1]}]}, {"a": {}}, {"a": [{"score": 1}]}])
def test_other_proposals_are_named(tmp_path, results):
    with pytest.raises(ValueError, match=r"file\.json"):
        load_proposals(written(tmp_path, {"results": results}))
