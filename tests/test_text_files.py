"""Text files as they come from editors and spreadsheets: understood, or refused with file and line."""

import re

import pytest

from vita_clip_hf.data import load_videos
from vita_clip_hf.names import load_labels
from vita_clip_hf.text_files import clean_name, read_lines, read_text

TEXT = "caf\u00e9\nna\u00efve\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_unicode_and_every_line_end_are_understood(tmp_path, encoding, line_end):
    path = tmp_path / "names.txt"
    path.write_bytes(TEXT.replace("\n", line_end).encode(encoding))
    assert read_text(path) == TEXT
    assert load_labels(path) == ["caf\u00e9", "na\u00efve"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp850"])
def test_other_encodings_are_refused_with_file_line_and_remedy(tmp_path, encoding):
    path = tmp_path / "names.txt"
    path.write_bytes("archery\ncaf\u00e9\n".encode(encoding))
    with pytest.raises(ValueError, match=r"names\.txt, line 2: expected UTF-8 text.*iconv -f CP1252 -t UTF-8"):
        load_labels(path)


@pytest.mark.parametrize("content", [b"archery\n\0bowling\n", "archery\nbowling\n".encode("utf-16-le")])
def test_zero_bytes_are_no_text(tmp_path, content):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"names\.txt, line [12]: expected text, found a zero byte"):
        load_labels(tmp_path / "names.txt")


def test_text_in_utf16_that_breaks_off_is_refused(tmp_path):
    (tmp_path / "names.txt").write_bytes("archery\nbowling".encode("utf-16")[:-1])
    with pytest.raises(ValueError, match=r"names\.txt, line 2: begins as UTF-16 text"):
        load_labels(tmp_path / "names.txt")


def test_line_numbers_count_blank_lines_and_names_keep_odd_line_separators_out(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffone\n\n \u200b\n\u00a0two\u200b \nthree\u2028four\n", encoding="utf-8")
    assert list(read_lines(tmp_path / "a.txt")) == [(1, "one"), (4, "two"), (5, "three\u2028four")]
    assert load_labels(tmp_path / "a.txt") == ["one", "two", "three four"]


@pytest.mark.parametrize("name", ["tai chi", " tai chi ", "\u00a0tai\u00a0chi", "\ufefftai chi\u200b", "tai  \tchi"])
def test_blanks_of_all_kinds_are_no_part_of_a_name(tmp_path, name):
    assert clean_name(name) == "tai chi"
    assert load_labels(["archery", name]) == ["archery", "tai chi"]
    (tmp_path / "names.csv").write_text(f'id,name\n1,"{name}"\n0,archery\n', encoding="utf-8")
    assert load_labels(tmp_path / "names.csv") == ["archery", "tai chi"]


def test_composed_and_decomposed_letters_are_one_name():
    assert clean_name("cafe\u0301") == clean_name("caf\u00e9")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("n.csv", "id,name\n0,Putting X, Y and Z on the table\n1,b\n", r"n\.csv, line 2: .*comma stands in quotes"),
        ("n.csv", "id,name\n0,a\n\n1\n", r"n\.csv, line 4: expected 2 fields \(id,name\), found 1"),
        ("n.csv", 'id,name\n0,"a\n1,b"\n', r"n\.csv, line 2: .*unexpected end of data"),
        ("n.csv", 'id,name\n0,"a" b\n', r"n\.csv, line 2: expected comma-separated fields"),
        ("n.csv", f"id,name\n0,{'a' * 140_000}\n", r"n\.csv, line 2: .*larger than field limit"),
        ("n.csv", "id,name\n0,a\n0,b\n", r"n\.csv, line 3: the id 0 is there already, in line 2"),
        ("n.csv", "id,name\n1,a\n2,b\n", r"n\.csv, line 3: expected the ids 0 to 1, each once, found '2'"),
        ("n.csv", "id,name\n-1,a\n0,b\n", r"n\.csv, line 2: expected the ids 0 to 1"),
        ("n.csv", "id,name\n0,a\n1, a \n", r"n\.csv, line 3: labels must be distinct; found 'a'"),
        ("n.csv", "id,name\n0,a\n1,\n", r"n\.csv, line 3: expected a name, found ''"),
        ("n.csv", "id;name\n0;a\n", r"n\.csv: expected the columns id, name.* not among id;name"),
        ("n.csv", "id,name,id\n0,a,0\n", r"n\.csv, line 1: the column 'id' is there twice"),
        ("n.csv", "id,name\n", r"n\.csv: .*no row"),
        (
            "n.txt",
            "a\nb\n\u00a0a\n",
            r"n\.txt, line 3: labels must be distinct; found 'a' more than once, first in .*1",
        ),
        ("n.txt", "1 ApplyEyeMakeup\n2 Archery\n", r"n\.txt, line 1: expected a name alone on each line"),
        ("n.txt", "0,archery\n1,tai chi\n", r"n\.txt, line 1: expected a name alone on each line"),
        ("n.tsv", "0\tarchery\n1\ttai chi\n", r"n\.tsv, line 1: expected a name alone on each line"),
        ("n.txt", '"archery",\n"tai chi"\n', r"n\.txt, line 1: expected a name without quotes"),
        ("n.json", '["a", 1]', r"n\.json, entry 1: expected a name, found 1"),
        ("n.json", '["a", " a"]', r"n\.json, entry 1: labels must be distinct"),
        ("n.json", '["\\ud800"]', r"n\.json, entry 0: expected a name, found"),
    ],
)
def test_a_wrong_line_of_class_names_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_labels(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("n.csv", 'id,name\n0,"Putting X, Y and Z on the table"\n1,b\n', ["Putting X, Y and Z on the table", "b"]),
        ("n.csv", 'name, id ,note\r\n"say ""hi""",1,x\r\n\r\n b , 0 , y \r\n', ["b", 'say "hi"']),
        ("n.txt", "id,name\n0,a\n1,b\n", ["a", "b"]),
        ("n.txt", "Putting X, Y and Z on the table\n2 hands clapping\n", None),
        ("N.CSV", "id,name\n0,a\n", ["a"]),
    ],
)
def test_what_is_unambiguous_is_read(tmp_path, name, content, names):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert load_labels(tmp_path / name) == (names or content.splitlines())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "a, b.mp4,0\n", r"l\.csv, line 1: "),
        ("l.csv", "a.mp4,120,0\n", r"l\.csv, line 1: expected 'path,label'.*comma stands in quotes"),
        ("l.csv", "a.mp4,0\nb.mp4 120 0\n", r"l\.csv, line 2: expected a path and one label"),
        ("l.csv", "a.mp4\t120\t0\n", r"l\.csv, line 1: expected a path and one label"),
        ("l.csv", '"a" , 0\n', r"l\.csv, line 1: expected a path and one label"),
        ("l.csv", "a.mp4;0\n", r"l\.csv, line 1: expected 'path,label'"),
        ("l.csv", "path,label\na.mp4,0\n", r"l\.csv, line 1: expected a label from 0 to 0, found 'label'"),
        ("l.csv", 'a.mp4,0\n"b.mp4,0\n', r"l\.csv, line 2: expected comma-separated fields"),
        ("l.csv", f"a.mp4,0\nb.mp4,{'9' * 140_000}\n", r"l\.csv, line 2: .*larger than field limit"),
        ("l.csv", "a.mp4,0,0,inf\n", r"l\.csv, line 1: expected start and end in seconds"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_videos(tmp_path / name, format="list", class_names=["x"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_of_a_spreadsheet_are_read(tmp_path, encoding):
    path = tmp_path / "l.csv"
    path.write_bytes('caf\u00e9.mp4,0\r\n\r\n" b.mp4 ", 0 \r\n'.encode(encoding))
    dataset = load_videos(path, class_names=["x"])
    assert dataset["video"][:] == [str(tmp_path / "caf\u00e9.mp4"), str(tmp_path / "b.mp4")]


def test_odd_characters_inside_a_path_stay(tmp_path):
    (tmp_path / "l.csv").write_text("\u200ba\u200bb\u00a0c.mp4,0\u200b\n", encoding="utf-8")
    dataset = load_videos(tmp_path / "l.csv", class_names=["x"])
    assert dataset["video"][:] == [str(tmp_path / "a\u200bb\u00a0c.mp4")]


def test_columns_of_tabs_are_read(tmp_path):
    (tmp_path / "l.txt").write_text("a b.mp4\t0\nc.mp4\t0\t1.5\t3\n")
    dataset = load_videos(tmp_path / "l.txt", format="list", class_names=["x"])
    assert dataset[0] == {"video": str(tmp_path / "a b.mp4"), "label": 0, "start": None, "end": None}
    assert dataset[1] == {"video": str(tmp_path / "c.mp4"), "label": 0, "start": 1.5, "end": 3.0}


HEADER = "label,youtube_id,time_start,time_end,split\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Putting X, Y and Z,abc,0,10,train\n", r"k\.csv, line 2: expected 5 fields .*, found 6"),
        ("tai chi,abc,0,10\n", r"k\.csv, line 2: expected 5 fields .*, found 4"),
        ("tai chi,abc,nan,10,train\n", r"k\.csv, line 2: expected seconds with time_start before time_end"),
        ("tai chi,abc,10,10,train\n", r"k\.csv, line 2: expected seconds"),
        ("tai chi,,0,10,train\n", r"k\.csv, line 2: expected a value for youtube_id, found none"),
        ("tai chi,abc,0,10,train\n,abd,0,10,train\n", r"k\.csv, line 3: expected a value for label, found none"),
    ],
)
def test_a_wrong_line_of_a_kinetics_file_is_named(tmp_path, content, message):
    (tmp_path / "k.csv").write_text(HEADER + content)
    with pytest.raises(ValueError, match=message):
        load_videos(tmp_path / "k.csv")


def test_a_kinetics_file_with_quotes_blanks_and_identifiers_is_read(tmp_path):
    quoted = ",".join(f'"{name}"' for name in HEADER.strip().split(","))
    rows = '"clapping, standing",abc,0,10,train\n brush_hair\u00a0,abd,0,10,train\n'
    (tmp_path / "k.csv").write_text(f"{quoted}\n{rows}", encoding="utf-8-sig")
    dataset = load_videos(tmp_path / "k.csv")
    assert dataset.features["label"].names == ["brush_hair", "clapping, standing"]
    assert dataset["label"][:] == [1, 0]
    (tmp_path / "k.csv").write_text(f"{HEADER}brush_hair,abd,0,10,train\n")
    assert load_videos(tmp_path / "k.csv").features["label"].names == ["brush hair"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ('{"Pushing": 1, "Pulling": 2}', r"labels\.json: expected the ids 0 to 1, each once; found 2 for 'Pulling'"),
        ('{"Pushing": 0, "Pulling": 0}', r"labels\.json: expected the ids 0 to 1, each once"),
        ('{"Pushing": "x"}', r"labels\.json: expected the ids 0 to 0.*found 'x' for 'Pushing'"),
        ('{"Pushing [it]": 0, "Pushing it": 1}', r"found 'Pushing it' more than once"),
        ("[" * 100_000, r"labels\.json is not JSON"),
    ],
)
def test_wrong_ids_of_templates_are_named(tmp_path, labels, message):
    (tmp_path / "labels.json").write_text(labels)
    (tmp_path / "train.json").write_text('[{"id": "7", "template": "Pushing"}]')
    with pytest.raises(ValueError, match=message):
        load_videos(tmp_path / "train.json")


@pytest.mark.parametrize("entry", ['{"id": "7", "template": null}', '{"id": null, "template": "Pushing"}', '"7"'])
def test_a_wrong_entry_of_templates_is_named(tmp_path, entry):
    (tmp_path / "train.json").write_text(f"[{entry}]")
    with pytest.raises(ValueError, match=r"train\.json, entry 0: expected the fields id and template"):
        load_videos(tmp_path / "train.json", class_names=["Pushing"])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("1 ApplyEyeMakeup\n2\n", r"classInd\.txt, line 2: expected '2 ClassName'"),
        ("0 ApplyEyeMakeup\n1 Archery\n", r"classInd\.txt, line 1: expected '1 ClassName'"),
        ("1 Archery\n1 ApplyEyeMakeup\n", r"classInd\.txt, line 2: expected '2 ClassName'"),
        ("1 ApplyEyeMakeup\n2 apply_eye_makeup\n", r"same name as words|more than once"),
    ],
)
def test_a_wrong_class_file_of_ucf101_is_named(tmp_path, classes, message):
    (tmp_path / "classInd.txt").write_text(classes)
    (tmp_path / "trainlist01.txt").write_text("Archery/v_b.avi 2\n")
    with pytest.raises(ValueError, match=message):
        load_videos(tmp_path, split="train1")


@pytest.mark.parametrize("name", ["classInd.txt", "trainlist01.txt"])
def test_files_of_ucf101_in_another_encoding_are_named(tmp_path, name):
    (tmp_path / "classInd.txt").write_text("1 Archery\n")
    (tmp_path / "trainlist01.txt").write_text("Archery/v_b.avi 1\n")
    (tmp_path / name).write_bytes(b"1 Archery\xe9\n")
    with pytest.raises(ValueError, match=rf"{re.escape(name)}, line 1: expected UTF-8"):
        load_videos(tmp_path, split="train1")


def test_two_lists_of_one_class_of_hmdb51_are_an_error(tmp_path):
    for name in ("brush_hair", "brush hair"):
        (tmp_path / f"{name}_test_split1.txt").write_text("a.avi 1\n")
    with pytest.raises(ValueError, match=r"brush hair_test_split1\.txt and brush_hair_test_split1\.txt are of one"):
        load_videos(tmp_path, split="train1")
