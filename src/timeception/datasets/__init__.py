"""Readers of annotation files into typed records. No framework is needed."""

from timeception.datasets.folder import from_folder
from timeception.datasets.kind import DatasetKind
from timeception.datasets.names import from_names
from timeception.datasets.records import (
    Interval,
    TimedDataset,
    TimedVideo,
    VideoDataset,
    VideoRecord,
)
from timeception.datasets.registry import read_videos, register
from timeception.datasets.splits import split_by_fraction, split_by_globs
from timeception.datasets.table import from_csv
from timeception.datasets.timed import intervals_of_frames, read_timed, write_timed
from timeception.datasets.video_files import find_videos, video_id_of
from timeception.datasets.windows import make_windows, step_edges_seconds

__all__ = [
    "DatasetKind",
    "Interval",
    "TimedDataset",
    "TimedVideo",
    "VideoDataset",
    "VideoRecord",
    "find_videos",
    "from_csv",
    "from_folder",
    "from_names",
    "intervals_of_frames",
    "make_windows",
    "read_timed",
    "read_videos",
    "register",
    "split_by_fraction",
    "split_by_globs",
    "step_edges_seconds",
    "video_id_of",
    "write_timed",
]
