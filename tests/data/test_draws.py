"""Published draws: every video once, draws by numbers, and lists that make no sense are named."""

from pathlib import Path

import pytest

from vita_clip_hf.data.draws import is_folder_of_draws, read_draws

LISTS = {
    "train/split_0.list": ["kick ball/a.b_1", "pour/-x_2"],
    "test/split_0.list": ["kick ball/c [HD]_0", "pour/d", "pour/e"],
    "train/split_1.list": ["pour/d", "smoke/f"],
    "test/split_1.list": ["smoke/g", "pour/e"],
}


def write_lists(folder: Path, lists: dict[str, list[str]] = LISTS) -> Path:
    for name, lines in lists.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


def write_files(root: Path) -> Path:
    """HMDB51's folders have underscores, the lists blanks."""
    for name in ("kick_ball/a.b_1.avi", "kick_ball/c [HD]_0.avi", "pour/-x_2.avi", "pour/d.avi", "smoke/f.avi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_draws_are_numbers_of_videos_that_are_listed_once(tmp_path):
    folder, root = write_lists(tmp_path / "lists"), write_files(tmp_path / "videos")
    assert is_folder_of_draws(folder)
    assert not is_folder_of_draws(root)
    listing, draws = read_draws(folder, root)
    assert listing.class_names == ["kick ball", "pour", "smoke"]
    found = {Path(video.path).name: place for place, video in enumerate(listing.videos)}
    assert len(found) == len(listing.videos) == 7
    assert {Path(video.path).name: listing.class_names[video.label] for video in listing.videos}["d.avi"] == "pour"
    first, second = draws
    assert (first.number, first.classes, second.classes) == (0, [0, 1], [1, 2])
    assert first.train == [found["a.b_1.avi"], found["-x_2.avi"]]
    assert first.test == [found["c [HD]_0.avi"], found["d.avi"], found["e"]]
    assert (second.train, second.test) == ([found["d.avi"], found["f.avi"]], [found["g"], found["e"]])
    assert listing.videos[found["g"]].path == str(root / "smoke" / "g")  # missing: its expected place


def test_draws_are_in_the_order_of_their_numbers(tmp_path):
    lists = {f"{half}/split_{n}.list": [f"a/{half}{n}"] for half in ("train", "test") for n in range(12)}
    listing, draws = read_draws(write_lists(tmp_path, lists), tmp_path)
    assert [Path(listing.videos[draw.train[0]].path).name for draw in draws] == [f"train{n}" for n in range(12)]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train/split_2.list": ["a/b"]}, ValueError, r"split_2.list is not in both train/ and test/ \(1 such"),
        ({"test/split_1.list": ["pour/d"]}, ValueError, r"split_1.list, line 1: 'pour/d' is also on the list to test"),
        ({"test/split_0.list": ["pour"]}, ValueError, r"split_0.list, line 1: expected class/video, found 'pour'"),
        ({"test/split_0.list": ["a/b/c"]}, ValueError, "expected class/video, found 'a/b/c'"),
        ({"test/split_0.list": ["a/b", "a/b"]}, ValueError, "line 2: 'a/b' is there already, in .*line 1"),
        ({"test/split_0.list": []}, ValueError, "is empty; expected a class/video"),
        ({"train/split_7.list": ["a/b"]}, OSError, "expected split_0.list, split_1.list and so on; found 3"),
    ],
)
def test_lists_that_make_no_sense_are_named(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        read_draws(write_lists(tmp_path, {**LISTS, **change}), tmp_path)
