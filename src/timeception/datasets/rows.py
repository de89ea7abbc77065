"""Rows and lines of text files, read so that every bad one is told at once, by line and value."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import TypeVar

from timeception import checks

MAX_TOLD = 10  # bad rows spelled out in one error

Row = dict[str, str]
Record = TypeVar("Record")


def read_rows(
    file: str | Path,
    columns: Sequence[str],
    parse: Callable[[Row], Record],
    optional: Sequence[str] = (),
) -> list[Record]:
    """Parse every row of a comma-separated file that begins with a header.

    Blank lines and columns not asked for are ignored; fields are stripped of spaces; a byte order
    mark is accepted.

    Args:
        file: UTF-8 text.
        columns: names that the header must hold.
        parse: makes a record of a row; a ``ValueError`` of its marks the row as bad.
        optional: names that the header may hold; where it does not, the field is empty.

    Raises:
        ValueError: if the file is missing, is no text, lacks a column or has bad rows; the first
            ten bad rows are told, each by line number.
    """
    header, lines = read_csv(Path(file), columns)
    records, bad = [], []
    for line, fields in lines:
        try:
            width = f"have {len(header)} fields, as the header has"
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
    told = [f"  {text}" for text in bad[:MAX_TOLD]]
    if len(bad) > MAX_TOLD:
        told.append(f"  ... {len(bad) - MAX_TOLD} more")
    raise ValueError("\n".join([f"{file}: {len(bad)} bad lines.", *told]))


def read_text(file: str | Path) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Raises:
        ValueError: if it is missing or no UTF-8 text.
    """
    file = Path(file)
    checks.require(file.is_file(), "file", "be an existing file", str(file))
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from None


def read_lines(file: str | Path, parse: Callable[[str], Record]) -> list[Record]:
    """Parse every line of a text file, spaces at its ends taken off, blank lines left out.

    Args:
        file: UTF-8 text.
        parse: makes a record of a line; a ``ValueError`` of its marks the line as bad.

    Raises:
        ValueError: if the file is missing, is no text or has bad lines, told as by ``read_rows``.
    """
    records, bad = [], []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        try:
            if line.strip():
                records.append(parse(line.strip()))
        except ValueError as error:
            bad.append(f"line {number}: {error}")
    raise_bad(file, bad)
    return records


def has_columns(file: Path, columns: Sequence[str]) -> bool:
    """Whether the first line of a file names all of ``columns``."""
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        header = next(csv.reader(stream), [])
    return set(columns) <= {name.strip() for name in header}


def read_csv(file: Path, columns: Sequence[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read the header, and the other rows with their line numbers, blank lines left out.

    Raises:
        ValueError: if the file is missing, is no CSV text, or its header lacks one of ``columns``.
    """
    reader = csv.reader(StringIO(read_text(file), newline=""), strict=True)
    try:
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num}: not CSV ({error}).") from None
    rows = [(line, row) for line, row in rows if any(row)]
    header = rows[0][1] if rows else []
    missing = ", ".join(name for name in columns if name not in header)
    checks.require(
        not missing,
        f"{file}: first line",
        f"name the column(s) {missing}",
        ",".join(header),
        f"Begin the file with {','.join(columns)}.",
    )
    return header, rows[1:]
