"""Text files that people hand over: encoding, lines, names in them, and tables of comma-separated fields."""

import codecs
import csv
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
_HEAD_SIZE = 65536
# Characters without width that str.strip leaves: zero-width blank, word joiner, byte order mark.
_ZERO_WIDTH = "\u200b\u2060\ufeff"
_BLANKS_AROUND = re.compile(rf"^[\s{_ZERO_WIDTH}]+|[\s{_ZERO_WIDTH}]+$")


def read_text(path: str | os.PathLike) -> str:
    """
    A whole text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; every line ends with a line feed.

    Raises:
        OSError: the file is not there, or cannot be read.
        ValueError: it is no text, or in another encoding; the message has file and line.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD_SIZE)
        encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
        if encoding.startswith("utf-8") and b"\0" in head:
            line = head.count(b"\n", 0, head.index(b"\0")) + 1
            raise ValueError(
                f"{path}, line {line}: expected text, found a zero byte. A binary file is no list; text in UTF-16 "
                "needs a byte order mark, so save it as UTF-8."
            )
        content = head + file.read()
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(_other_encoding(path, content, encoding, error)) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line}: expected text, found a zero character.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """
    Number, from 1, and text of each line that is not blank, without the blanks around it.

    Raises:
        OSError, ValueError: as `read_text`.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        stripped = _BLANKS_AROUND.sub("", line)
        if stripped:
            yield number, stripped


def clean_name(name: str) -> str:
    """A name without the blanks around it, non-breaking and zero-width ones too; blanks in a row become one."""
    return " ".join(unicodedata.normalize("NFC", name.translate(dict.fromkeys(map(ord, _ZERO_WIDTH)))).split())


def is_encodable(text: str) -> bool:
    """Whether a text can be written: of a file's name that is not UTF-8, Python makes half a character a byte."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def fields_of(line: str, where: str) -> list[str]:
    """
    The comma-separated fields of one line, without the blanks around them.

    Raises:
        ValueError: a quote is not closed on the line, or text follows it, or a field is longer than `csv` allows.
    """
    try:
        fields = next(csv.reader([line], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise ValueError(
            f"{where}: expected comma-separated fields, found {line!r:.120} ({error}). A field with a comma or a "
            'quote stands in quotes on one line, its own quotes doubled: "a, ""b"""'
        ) from error
    return [field.strip() for field in fields]


def read_table(path: str | os.PathLike, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """
    A file of comma-separated fields under a line of column names.

    Args:
        path: the file.
        columns: names of columns that must be there; others may be.

    Returns:
        Number of the line and its fields by column, for each line that is not blank.

    Raises:
        OSError: the file is not there.
        ValueError: a column is missing or named twice, or a line has more or fewer fields than there are columns.
    """
    lines = read_lines(path)
    number, first = next(lines, (1, ""))
    header = fields_of(first, f"{path}, line {number}")
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(
            f"{path}: expected the columns {', '.join(columns)}, comma-separated; {', '.join(missing)} not among "
            f"{', '.join(header) or 'none'}."
        )
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise ValueError(f"{path}, line {number}: the column {repeated[0]!r} is there twice.")
    rows = []
    for number, line in lines:
        fields = fields_of(line, f"{path}, line {number}")
        if len(fields) != len(header):
            raise ValueError(
                f"{path}, line {number}: expected {len(header)} fields ({','.join(header)}), found {len(fields)} in "
                f"{line!r:.120}. A name with a comma stands in quotes."
            )
        rows.append((number, dict(zip(header, fields, strict=True))))
    return rows


def _other_encoding(path: str | os.PathLike, content: bytes, encoding: str, error: UnicodeDecodeError) -> str:
    before = content[: error.start]
    if encoding.startswith("utf-8"):
        line = before.count(b"\n") + 1
        start = before.rfind(b"\n") + 1
        found = content[start:].split(b"\n", 1)[0].strip()
        return (
            f"{path}, line {line}: expected UTF-8 text, found the byte 0x{content[error.start]:02x} in "
            f"{found!r:.120}. Save the file as UTF-8: in a spreadsheet as 'CSV UTF-8', or, if it is in Windows' "
            f"Western encoding, by `iconv -f CP1252 -t UTF-8 {Path(path).name} > utf8_{Path(path).name}`."
        )
    line = before.decode(encoding, errors="ignore").count("\n") + 1
    return f"{path}, line {line}: begins as {encoding.upper()} text and does not go on so. Save it as UTF-8."
