"""The real lists give the published counts; what is missing is counted and named."""

import shutil

import benchmark_videos as benchmarks
import pytest

from vita_clip_hf.evaluation import load_protocol, test_sets
from vita_clip_hf.evaluation.test_sets import checksum, load_test_sets

COUNTS = {
    ("zero-shot-hmdb51", "hmdb51"): [(1530, 51)] * 3,
    ("zero-shot-ucf101", "ucf101"): [(3783, 101), (3734, 101), (3696, 101)],
    ("zero-shot-k600", "k600"): [(14084, 160), (13978, 160), (14136, 160)],
    ("supervised-ssv2-1x3", "ssv2"): [(24777, 174)],
    ("few-shot-ssv2", "ssv2"): [(24777, 174)],
    ("supervised-k400-4x3", "k400"): [(19877, 400)],
    ("base-to-novel-hmdb51", "hmdb51"): [(780, 26), (750, 25)],
    ("base-to-novel-ucf101", "ucf101"): [(2088, 51), (1695, 50)],
    ("base-to-novel-ssv2", "ssv2"): [(17562, 87), (7215, 87)],
}


@pytest.mark.parametrize(("protocol", "dataset"), COUNTS)
def test_real_lists_give_the_published_counts(shared_dir, monkeypatch, protocol, dataset):
    monkeypatch.setattr(test_sets.os.path, "exists", lambda path: True)
    data = shared_dir / "data"
    found = load_test_sets(load_protocol(protocol), "videos", data / "splits" / dataset, data / "labels")
    assert [(len(one.rows), len(one.class_names)) for one in found] == COUNTS[protocol, dataset]
    assert all(not one.differences and not one.missing for one in found)
    names = [name for one in found for name in one.class_names]
    assert not any("_" in name for name in names)  # words, not identifiers
    assert max(sum(letter.isupper() for letter in name) for name in names) <= 2


def test_base_and_novel_classes_of_kinetics(shared_dir):
    from vita_clip_hf.names import readable_class_names

    labels = shared_dir / "data" / "labels"
    base, novel = (readable_class_names(labels / f"kinetics_400_{half}_labels.csv") for half in ("base", "novel"))
    assert (len(base), len(novel), len({*base, *novel})) == (200, 200, 400)


def test_missing_videos_are_counted_and_named(tmp_path):
    videos, lists = benchmarks.write_hmdb51(tmp_path)
    gone = videos / "catch" / "clip_catch_1.avi"
    gone.unlink()
    first, second, _ = load_test_sets(load_protocol("zero-shot-hmdb51"), videos, lists)
    assert [path.rpartition("/")[2] for path in first.missing] == [gone.name]
    assert len(first.rows) == 7
    assert second.missing == ()
    shutil.rmtree(videos)
    videos.mkdir()
    with pytest.raises(OSError, match=r"none of its videos is there; the first of 8 is expected at .*clip_brush"):
        load_test_sets(load_protocol("zero-shot-hmdb51"), videos, lists)


def test_other_counts_than_the_protocols_are_named(tmp_path):
    videos, lists = benchmarks.write_hmdb51(tmp_path)
    first = load_test_sets(load_protocol("zero-shot-hmdb51"), videos, lists, splits=["test1"])[0]
    assert first.differences == ("test1 has 4 classes, the protocol's 51", "test1 has 8 videos, the protocol's 1530")


def test_one_list_is_not_three_splits(tmp_path):
    videos, lists = benchmarks.write_ucf101(tmp_path)
    protocol = load_protocol("zero-shot-ucf101")
    with pytest.raises(ValueError, match=r"is one list, and the protocol .* has the splits test1, test2, test3"):
        load_test_sets(protocol, videos, lists / "testlist01.txt")
    assert len(load_test_sets(protocol, videos, lists / "testlist01.txt", splits=["test1"])[0].rows) == 10
    with pytest.raises(ValueError, match="found 'test4'"):
        load_test_sets(protocol, videos, lists, splits=["test4"])


def test_class_folders_are_no_test_split_of_a_benchmark(tmp_path):
    videos, _ = benchmarks.write_ucf101(tmp_path)
    with pytest.raises(OSError, match=r"has no list of 'test1'; expected val1.txt"):
        load_test_sets(load_protocol("zero-shot-ucf101"), videos)
    assert len(load_test_sets(load_protocol("zero-shot"), videos)[0].rows) == 15


def test_training_videos_of_a_kinetics_list_are_not_tested_on(tmp_path):
    videos, path = benchmarks.write_kinetics(tmp_path)
    found = load_test_sets(load_protocol("supervised"), videos, path)[0]
    assert len(found.rows) == 6
    assert not found.missing
    path.write_text(path.read_text().replace("validate", "other"))
    with pytest.raises(ValueError, match=r"has the splits other, train; expected test or val"):
        load_test_sets(load_protocol("supervised"), videos, path)


def test_rows_of_other_classes_are_left_out_and_counted(tmp_path):
    videos, path = benchmarks.write_kinetics(tmp_path)
    (tmp_path / "some.txt").write_text("Air drumming\n")
    found = load_test_sets(load_protocol("zero-shot"), videos, path, tmp_path / "some.txt")[0]
    assert (len(found.rows), found.num_other_classes, found.class_names) == (2, 4, ["Air drumming"])
    (tmp_path / "some.txt").write_text("air drumming\nflying\n")
    with pytest.raises(ValueError, match=r"has no class 'flying' \(1 of 2 are missing\)"):
        load_test_sets(load_protocol("zero-shot"), videos, path, tmp_path / "some.txt")


def test_a_folder_of_class_files_must_have_the_splits(tmp_path):
    videos, lists = benchmarks.write_hmdb51(tmp_path)
    with pytest.raises(OSError, match=r"hmdb_51_labels.csv: no such file"):
        load_test_sets(load_protocol("zero-shot-hmdb51"), videos, lists, tmp_path)
    with pytest.raises(ValueError, match="names no file of classes"):
        load_test_sets(load_protocol("zero-shot"), videos, None, tmp_path)


@pytest.mark.parametrize("line", ["video,label", "gone.mp4,2", "gone.mp4,run"])
def test_a_wrong_label_of_a_missing_video_is_an_error(tmp_path, line):
    """A header is no missing video."""
    (tmp_path / "0.mp4").touch()
    (tmp_path / "list.csv").write_text(f"{line}\n0.mp4,0\n")
    (tmp_path / "list.classes.txt").write_text("run\njump\n")
    with pytest.raises(ValueError, match=r"list\.csv, line 1: expected a label from 0 to 1"):
        load_test_sets(load_protocol("zero-shot"), tmp_path, tmp_path / "list.csv")


def test_the_checksum_of_class_folders_is_over_their_videos(tmp_path):
    """Else reports of any two folders would seem to be of the same list."""
    for folder, classes in (("a", ("run", "jump")), ("b", ("run", "jump")), ("c", ("run", "fly"))):
        for name in classes:
            (tmp_path / folder / name).mkdir(parents=True)
            (tmp_path / folder / name / "0.mp4").write_bytes(b"1234")
    of_a = checksum(tmp_path / "a")
    assert of_a == checksum(tmp_path / "b") != checksum(tmp_path / "c")
    (tmp_path / "b" / "run" / "notes.txt").write_text("no video")
    assert checksum(tmp_path / "b") == of_a
    (tmp_path / "b" / "run" / "0.mp4").write_bytes(b"12345")
    assert checksum(tmp_path / "b") != of_a


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere: no such list"):
        load_test_sets(load_protocol("zero-shot"), tmp_path, tmp_path / "nowhere")


def test_class_folders_of_other_classes_are_left_out_and_counted(tmp_path):
    videos, _ = benchmarks.write_ucf101(tmp_path)
    (tmp_path / "some.txt").write_text("tai chi\nyo yo\nflying kites\n")
    found = load_test_sets(load_protocol("zero-shot"), videos, None, tmp_path / "some.txt")[0]
    assert (len(found.rows), found.num_other_classes) == (6, 9)
    assert found.class_names == ["tai chi", "yo yo", "flying kites"]  # a candidate without videos
    (tmp_path / "some.txt").write_text("flying kites\n")
    with pytest.raises(OSError, match="lists no video"):
        load_test_sets(load_protocol("zero-shot"), videos, None, tmp_path / "some.txt")


@pytest.mark.parametrize("protocol", ["base-to-novel-hmdb51", "base-to-novel", "zero-shot-k600"])
def test_splits_that_would_be_the_same_videos_are_refused(tmp_path, protocol):
    kinetics = protocol == "zero-shot-k600"
    videos, lists = (benchmarks.write_kinetics if kinetics else benchmarks.write_hmdb51)(tmp_path)
    with pytest.raises(ValueError, match="would be the same videos; give the folder"):
        load_test_sets(load_protocol(protocol), videos, lists)


def test_base_and_novel_classes_must_differ(tmp_path):
    videos, lists = benchmarks.write_hmdb51(tmp_path)
    for half, names in (("base", "catch\ncartwheel\n"), ("novel", "brush hair\ncatch\n")):
        (tmp_path / f"hmdb_51_{half}_labels.csv").write_text(
            "id,name\n" + "".join(f"{number},{name}\n" for number, name in enumerate(names.splitlines()))
        )
    with pytest.raises(ValueError, match=r"both have 'catch' \(1 classes\)"):
        load_test_sets(load_protocol("base-to-novel-hmdb51"), videos, lists, tmp_path)
