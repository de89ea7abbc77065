"""Rows and lines of text files. One error lists all bad ones, by line number and value."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import TypeVar

from timeception import checks
from timeception.files import write_text

MAX_LISTED = 10  # bad rows listed in one error

Row = dict[str, str]
Record = TypeVar("Record")


def read_rows(
    file: str | Path,
    columns: Sequence[str],
    parse: Callable[[Row], Record],
    optional: Sequence[str] = (),
) -> list[Record]:
    """Parse every row of a comma-separated file that begins with a header.

    Blank lines and other columns are ignored, fields are stripped of spaces, and a byte order mark
    is accepted.

    Args:
        file: UTF-8 text.
        columns: Columns that the header must have.
        parse: Turns a row into a record; it raises ``ValueError`` if the row is bad.
        optional: Columns that the header may have; without one, its fields are empty.

    Raises:
        ValueError: If the file is missing, is not text, lacks a column or has bad rows; the error
            lists the first ten bad rows by line number.
    """
    header, lines = read_csv(Path(file), columns)
    records, bad = [], []
    for line, fields in lines:
        try:
            width = f"have {len(header)} fields like the header"
            checks.require(len(fields) == len(header), "row", width, ",".join(fields))
            row = dict(zip(header, fields, strict=True))
            records.append(parse({name: row.get(name, "") for name in (*columns, *optional)}))
        except ValueError as error:
            bad.append(f"line {line}: {error}")
    raise_bad(file, bad)
    return records


def raise_bad(file: str | Path, bad: Sequence[str]) -> None:
    """Raise one error for all bad rows or entries of a file, unless there are none."""
    if not bad:
        return
    if len(bad) == 1:
        raise ValueError(f"{file}, {bad[0]}")
    lines = [f"  {text}" for text in bad[:MAX_LISTED]]
    if len(bad) > MAX_LISTED:
        lines.append(f"  ... {len(bad) - MAX_LISTED} more")
    raise ValueError("\n".join([f"{file}: {len(bad)} bad lines.", *lines]))


def read_text(file: str | Path) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Raises:
        ValueError: If it is missing or is not UTF-8 text.
    """
    file = Path(file)
    checks.require(file.is_file(), "file", "be an existing file", str(file))
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from None


def read_lines(file: str | Path, parse: Callable[[str], Record]) -> list[Record]:
    """Parse every line of a text file like ``read_rows``. Blank lines are skipped."""
    records, bad = [], []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        try:
            if line.strip():
                records.append(parse(line.strip()))
        except ValueError as error:
            bad.append(f"line {number}: {error}")
    raise_bad(file, bad)
    return records


def read_class_list(
    file: str | Path, number: Callable[[int], str], *, has_spaces: bool = False
) -> list[str]:
    """Read the class names, one ``NUMBER NAME`` line per class; ``number`` formats the index.

    Raises:
        ValueError: If a number is out of order or a name is missing; the error lists each line.
    """
    names: list[str] = []

    def parse(line: str) -> None:
        parts = line.split(" ", 1) if has_spaces else line.split()
        expected = number(len(names))
        is_next = len(parts) == 2 and parts[0] == expected
        checks.require(is_next, "class", f"be '{expected} NAME'", line)
        names.append(parts[1])

    read_lines(file, parse)
    return names


def has_columns(file: Path, columns: Sequence[str]) -> bool:
    """Whether the first line of a file contains all of ``columns``."""
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        header = next(csv.reader(stream), [])
    return set(columns) <= {name.strip() for name in header}


def read_csv(file: Path, columns: Sequence[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read the header and the other rows with their line numbers. Blank lines are skipped.

    Raises:
        ValueError: If the file is missing, is not CSV, or its header lacks one of ``columns``.
    """
    reader = csv.reader(StringIO(read_text(file), newline=""), strict=True)
    try:
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num}: not CSV ({error}).") from None
    rows = [(line, row) for line, row in rows if any(row)]
    header = rows[0][1] if rows else []
    missing = ", ".join(name for name in columns if name not in header)
    must, advice = f"name the column(s) {missing}", f"Begin the file with {','.join(columns)}."
    checks.require(not missing, f"{file}: first line", must, ",".join(header), advice)
    return header, rows[1:]


def write_rows(file: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV, header first; the file appears whole or not at all."""
    stream = StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    write_text(file, stream.getvalue())
