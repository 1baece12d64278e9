"""Every annotation format, written as the data sets' authors write them."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from vita_clip_hf.data import load_videos
from vita_clip_hf.data.loading import detect_format
from vita_clip_hf.names import readable_class_names, words_of


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rows(dataset) -> list[tuple[str, str]]:
    """(file name, class name) of each row."""
    names = dataset.features["label"].names
    return [(Path(row["video"]).name, names[row["label"]]) for row in dataset]


# ---- class names ----


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("YoYo", "yo yo"),
        ("Typing", "typing"),
        ("brush_hair", "brush hair"),
        ("tai chi", "tai chi"),
        ("BMX", "BMX"),
        ("RideABMX", "ride abmx"),
    ],
)
def test_identifiers_become_words(name, words):
    assert words_of(name) == words


def test_a_list_is_made_readable_as_a_whole_or_not_at_all():
    assert readable_class_names(["ApplyEyeMakeup", "Typing"]) == ["apply eye makeup", "typing"]
    assert readable_class_names(["BMX", "Beer pong"]) == ["BMX", "Beer pong"]
    assert readable_class_names(["left", "right"]) == ["left", "right"]


# ---- lists ----


def test_a_bare_name_is_found_in_a_class_folder(tmp_path):
    video = write(tmp_path / "videos" / "Archery" / "v_1.avi")
    path = write(tmp_path / "val.txt", "v_1.avi 1\nv_2.avi 0\n")
    dataset = load_videos(path, class_names=["ApplyEyeMakeup", "Archery"], root=tmp_path / "videos")
    assert dataset["video"][:] == [str(video), str(tmp_path / "videos" / "v_2.avi")]
    assert dataset.features["label"].names == ["apply eye makeup", "archery"]


def test_a_bare_name_in_two_folders_is_an_error(tmp_path):
    write(tmp_path / "a" / "1.mp4")
    write(tmp_path / "b" / "1.mp4")
    with pytest.raises(ValueError, match=r"2 files called 1\.mp4: a/1\.mp4, b/1\.mp4"):
        load_videos(write(tmp_path / "list.txt", "1.mp4 0\n"), class_names=["x"])


@pytest.mark.parametrize("line", ['"a, ""b"".mp4",0', 'a, "b".mp4 0', 'a, "b".mp4\t0'])
def test_names_with_commas_and_quotes(tmp_path, line):
    path = write(tmp_path / "list.csv", line + "\n")
    assert rows(load_videos(path, format="list", class_names=["x"])) == [('a, "b".mp4', "x")]


def test_a_part_of_a_file_has_start_and_end(tmp_path):
    path = write(tmp_path / "list.csv", "a.mp4,0,1.5,3\nb.mp4,0,,\n")
    dataset = load_videos(path, class_names=["x"])
    assert dataset["start"][:] == [1.5, None]
    assert dataset["end"][:] == [3.0, None]
    with pytest.raises(ValueError, match=r"line 1: expected start and end in seconds, found '3,1'"):
        load_videos(write(path, "a.mp4,0,3,1\n"), class_names=["x"])


LABELS = {
    "k400": "kinetics_400_labels.csv",
    "ssv2": "ssv2_labels.csv",
    "ucf101": "ucf_101_labels.csv",
    "hmdb51": "hmdb_51_labels.csv",
}


def real_lists(shared_dir):
    """Every list of videos in the shared folder, with the file of its class names."""
    labels = shared_dir / "data" / "labels"
    for path in sorted((shared_dir / "data" / "splits").rglob("*.txt")):
        below = path.relative_to(shared_dir / "data" / "splits").parts
        if below[0] == "k600":
            yield path, labels / f"{path.stem.removesuffix('_eval')}.csv"
        elif "base2novel" in below:
            part = "novel" if path.name.startswith("novel") else "base"
            yield path, labels / LABELS[below[0]].replace("_labels", f"_{part}_labels").replace("ssv2", "ssv2_174")
        else:
            yield path, labels / LABELS[below[0]]


def test_every_real_list_is_read(shared_dir):
    counts = {}
    for path, names in real_lists(shared_dir):
        if path.stat().st_size > 1_000_000:
            continue  # one list of 126,000 lines, of the form of the others
        dataset = load_videos(path, class_names=names, root="/videos")
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        assert dataset["video"][:] == [f"/videos/{line[0]}" for line in lines]
        assert dataset["label"][:] == [int(line[1]) for line in lines]
        counts[path.parent.name] = counts.get(path.parent.name, 0) + 1
    assert counts["k600"] == 3
    assert counts["base2novel"] >= 14


def test_real_class_names_become_words(shared_dir):
    path = shared_dir / "data" / "splits" / "ucf101" / "val1.txt"
    dataset = load_videos(path, class_names=shared_dir / "data" / "labels" / "ucf_101_labels.csv")
    assert dataset.features["label"].names[:2] == ["apply eye makeup", "apply lipstick"]


def test_a_list_of_class_names_is_no_list_of_videos(shared_dir):
    with pytest.raises(ValueError, match=r"expected one of the formats list .*found 'carving wood with a knife'"):
        load_videos(shared_dir / "data" / "splits" / "k700_open_set" / "train.list")


# ---- Kinetics ----

KINETICS = """label,youtube_id,time_start,time_end,split
tai chi,---QUuC4vJs,84,94,train
archery,-3B32lodo2M,59,69,val
archery,gone1234567,5,15,train
tai chi,whole123456,7,17,train
"""


def test_kinetics_files_are_found_flat_in_class_folders_and_whole(tmp_path):
    path = write(tmp_path / "k.csv", KINETICS)
    root = tmp_path / "videos"
    write(root / "train" / "tai chi" / "---QUuC4vJs_000084_000094.mkv")
    write(root / "-3B32lodo2M_000059_000069.mp4")
    write(root / "whole123456.mp4")
    dataset = load_videos(path, root=root)
    assert rows(dataset) == [
        ("---QUuC4vJs_000084_000094.mkv", "tai chi"),
        ("-3B32lodo2M_000059_000069.mp4", "archery"),
        ("gone1234567_000005_000015.mp4", "archery"),
        ("whole123456.mp4", "tai chi"),
    ]
    assert dataset[3]["start"] == 7
    assert dataset[3]["end"] == 17
    assert dataset[0]["start"] is None


def test_kinetics_splits_keep_the_ids_of_the_whole_file(tmp_path):
    path = write(tmp_path / "k.csv", KINETICS)
    dataset = load_videos(path, split="val")
    assert rows(dataset) == [("-3B32lodo2M_000059_000069.mp4", "archery")]
    assert dataset.features["label"].names == ["archery", "tai chi"]
    with pytest.raises(ValueError, match="no row of the split 'test'; it has train, val"):
        load_videos(path, split="test")


def test_kinetics_test_lists_without_labels_are_refused(tmp_path):
    path = write(tmp_path / "test.csv", "youtube_id,time_start,time_end,split\na,0,10,test\n")
    with pytest.raises(ValueError, match="label not among youtube_id"):
        load_videos(path)


# ---- Something-Something v2 ----


def test_something_something_classes_are_templates_without_brackets(tmp_path):
    entries = [
        {"id": "7", "label": "pushing a cup", "template": "Pushing [something]", "placeholders": ["a cup"]},
        {"id": "8", "label": "x", "template": "Moving [something] away from [something]", "placeholders": []},
    ]
    write(
        tmp_path / "labels.json", json.dumps({"Pushing something": "1", "Moving something away from something": "0"})
    )
    write(tmp_path / "videos" / "8.mp4")
    path = write(tmp_path / "train.json", json.dumps(entries))
    dataset = load_videos(path, root=tmp_path / "videos")
    assert rows(dataset) == [("7.webm", "Pushing something"), ("8.mp4", "Moving something away from something")]
    assert dataset["label"][:] == [1, 0]


def test_something_something_needs_labels(tmp_path):
    path = write(tmp_path / "test.json", json.dumps([{"id": "7"}]))
    with pytest.raises(FileNotFoundError, match=r"labels\.json"):
        load_videos(path)
    with pytest.raises(ValueError, match="entry 0: expected the fields id and template"):
        load_videos(path, class_names=["a", "b"])


# ---- UCF101, HMDB51, folders ----


def write_ucf101(folder):
    write(folder / "classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n")
    write(folder / "trainlist01.txt", "ApplyEyeMakeup/v_a.avi 1\nArchery/v_b.avi 2\n")
    write(folder / "testlist01.txt", "Archery/v_c.avi\n")
    return folder


def test_ucf101_lists(tmp_path):
    folder = write_ucf101(tmp_path)
    assert rows(load_videos(folder / "trainlist01.txt")) == [("v_a.avi", "apply eye makeup"), ("v_b.avi", "archery")]
    assert rows(load_videos(folder, split="test1")) == [("v_c.avi", "archery")]
    with pytest.raises(ValueError, match="split must be train1"):
        load_videos(folder)
    write(folder / "trainlist01.txt", "Archery/v_b.avi 1\n")
    with pytest.raises(ValueError, match=r"trainlist01\.txt, line 1: .*found 'Archery 1'"):
        load_videos(folder, split="train")


def test_hmdb51_lists(tmp_path):
    write(tmp_path / "brush_hair_test_split1.txt", "a.avi 1 \nb.avi 2 \nc.avi 0 \n")
    write(tmp_path / "cartwheel_test_split1.txt", "d.avi 1 \n")
    videos = tmp_path / "videos"
    clip = write(videos / "brush_hair" / "a.avi")
    train = load_videos(tmp_path, split="train1", root=videos)
    assert rows(train) == [("a.avi", "brush hair"), ("d.avi", "cartwheel")]
    assert train[0]["video"] == str(clip)
    assert rows(load_videos(tmp_path, split="test")) == [("b.avi", "brush hair")]
    with pytest.raises(ValueError, match="split must be train1"):
        load_videos(tmp_path)


def test_folders(tmp_path):
    for name in ("train/brush_hair/1.mp4", "train/archery/2.webm", "val/archery/3.mp4", "train/archery/.hidden.mp4"):
        write(tmp_path / name)
    write(tmp_path / "train" / "archery" / "notes.txt")
    assert rows(load_videos(tmp_path, split="train")) == [("2.webm", "archery"), ("1.mp4", "brush hair")]
    with pytest.raises(ValueError, match=r"found train, val, which are called like splits: give one of them as split"):
        load_videos(tmp_path)
    with pytest.raises(ValueError, match="found 'brush_hair'"):
        load_videos(tmp_path, split="train", class_names=["archery"])


# ---- shards ----


def write_shards(folder: Path, counts: list[int]) -> None:
    number = 0
    for shard, count in enumerate(counts):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for _ in range(count):
                for name, content in ((f"{number:03d}.mp4", b"video %d" % number), (f"{number:03d}.cls", b"1")):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
                number += 1


def write_shard(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_shards_give_undecoded_bytes(tmp_path):
    write_shards(tmp_path, [2, 1])
    dataset = load_videos(str(tmp_path / "*.tar"), class_names=["no", "yes"], streaming=True)
    found = sorted((row["video"]["bytes"], row["label"]) for row in dataset)
    assert found == [(b"video 0", 1), (b"video 1", 1), (b"video 2", 1)]
    assert dataset.features["label"].names == ["no", "yes"]
    with pytest.raises(ValueError, match="give class_names"):
        load_videos(tmp_path, streaming=True)


@pytest.mark.parametrize("written", [b"brush_hair\r\n", " brush\u00a0hair".encode(), b"\xef\xbb\xbf1", b"1\n"])
def test_labels_of_shards_are_names_or_ids_with_blanks_around_them(tmp_path, written):
    write_shard(tmp_path / "0.tar", {"0.mp4": b"video", "0.txt": written})
    (row,) = load_videos(str(tmp_path / "*.tar"), class_names=["archery", "brush_hair"], streaming=True)
    assert row["label"] == 1


@pytest.mark.parametrize("written", [b"2", b"-1", b"x" * 140_000])
def test_a_label_of_a_shard_that_is_no_class_is_named_with_its_video(tmp_path, written):
    write_shard(tmp_path / "0.tar", {"0.mp4": b"video", "0.txt": written})
    with pytest.raises(ValueError, match=r"0\.mp4: expected a label from 0 to 1 or a class name, found") as raised:
        list(load_videos(str(tmp_path / "*.tar"), class_names=["archery", "brush_hair"], streaming=True))
    assert len(str(raised.value)) < 300


# ---- detection ----


def test_what_is_found_and_the_formats_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file or folder.*ucf101"):
        load_videos(tmp_path / "missing.csv")
    with pytest.raises(FileNotFoundError, match=r"folder/list\.csv: no such file or folder"):
        load_videos("folder/list.csv")  # and no data set on the Hub
    with pytest.raises(ValueError, match=r"empty\.csv is empty; expected one of the formats"):
        load_videos(write(tmp_path / "lists" / "empty.csv", "\n\n"))
    (tmp_path / "lists" / "empty.csv").unlink()
    (tmp_path / "lists").rmdir()
    with pytest.raises(ValueError, match=r"found a folder with nothing"):
        load_videos(tmp_path)
    with pytest.raises(ValueError, match=r"format must be 'auto' or one of list .*; found 'csv'"):
        load_videos(write(tmp_path / "a.csv", "a.mp4,0"), format="csv")
    assert detect_format("user/name") == "hub"
    assert detect_format(str(tmp_path / "*.tar")) == "webdataset"
