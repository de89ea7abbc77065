"""Scores of a test, as ``timeception test`` writes them: one row per record."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timeception import checks


@dataclass(frozen=True)
class TestScores:
    """Scores of records, with their true labels.

    Args:
        classes: names, in the order of the columns of ``scores`` and ``targets``.
        records: names of the records; windows are named ``VIDEO@START-STOP``.
        scores: probabilities, (n_records, n_classes).
        targets: multi-hot labels, (n_records, n_classes).
    """

    __test__ = False  # not a test class of pytest

    classes: tuple[str, ...]
    records: tuple[str, ...]
    scores: NDArray[np.float64]
    targets: NDArray[np.float64]

    @property
    def videos(self) -> tuple[str, ...]:
        """Video of each record."""
        return tuple(record.partition("@")[0] for record in self.records)


def read_scores(path: str | Path) -> TestScores:
    """Read the table of scores of a test (``results/SPLIT_scores.csv``).

    Raises:
        ValueError: if the file is not such a table.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    checks.require(head[:2] == ["record", "labels"], f"{path}", "begin 'record,labels'", head[:2])
    classes = tuple(head[2:])
    bad = [number for number, row in enumerate(rows, start=2) if len(row) != len(head)]
    checks.require(not bad, f"{path}", f"have {len(head)} columns in each row", f"line {bad[:1]}")
    labels = [set(row[1].split(";")) if row[1] else set() for row in rows]
    targets = [[float(name in found) for name in classes] for found in labels]
    return TestScores(
        classes,
        tuple(row[0] for row in rows),
        np.array([row[2:] for row in rows], dtype=np.float64).reshape(len(rows), len(classes)),
        np.array(targets, dtype=np.float64).reshape(len(rows), len(classes)),
    )
