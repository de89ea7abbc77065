"""Updates of a stream keep to the multiples of the interval, wherever the timesteps end."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import numpy as np
import pytest

from tests.features.videos import make_video
from tests.inference.saved_models import save_model, tiny_backbone
from timeception.inference.predictor import Predictor
from timeception.inference.saved_model import load_saved
from timeception.inference.streams import stream_video

N_FRAMES, FPS = 75, 12
STEP = 2 / FPS  # a timestep begins at every second frame, and ends with that frame


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    backbone = tiny_backbone()
    folder = save_model(tmp_path_factory.mktemp("saved") / "model", backbone)
    return Predictor(load_saved(folder), backbone)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    return make_video(path, N_FRAMES, width=64, height=48, fps=FPS)


def seconds_of(predictor: Predictor, video: Path, interval: float) -> list[float]:
    """Of the updates before the last."""
    updates = list(stream_video(predictor, str(video), interval_seconds=interval))
    assert [u.is_final for u in updates] == [False] * (len(updates) - 1) + [True]
    assert updates[-1].n_timesteps == 38
    return [u.seconds for u in updates[:-1]]


@pytest.mark.parametrize("interval", [0.7, 1.3, 2.3])
def test_intervals_that_no_timestep_ends_at(
    predictor: Predictor, video: Path, interval: float
) -> None:
    """The first timestep that ends at a multiple or after it; lateness does not add up."""
    last = 37 * STEP
    due = np.arange(1, int(last / interval) + 1) * interval
    expected = [ceil(moment / STEP - 1e-9) * STEP for moment in due]
    assert seconds_of(predictor, video, interval) == pytest.approx(expected, abs=1e-3)


def test_an_interval_below_a_timestep_updates_at_each(predictor: Predictor, video: Path) -> None:
    found = seconds_of(predictor, video, 0.01)
    assert found == pytest.approx([k * STEP for k in range(1, 38)], abs=1e-3)


def test_an_interval_beyond_the_end_gives_the_last_update_alone(
    predictor: Predictor, video: Path
) -> None:
    assert seconds_of(predictor, video, 60.0) == []
