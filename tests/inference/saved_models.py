"""Saved models with random weights, whose backbone is a tiny network, for tests of prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import oracle
from timeception.backbones import Backbone, create_backbone
from timeception.features.extraction.settings import extraction_settings
from timeception.spec import ClassifierSpec, PoolingSpec, TimeceptionSpec
from timeception.weights import write_folder

CLASSES = ["cut", "pour", "stir"]


def tiny_backbone(side: int = 32) -> Backbone:
    """An image network of timm with random weights, for frames of ``side`` pixels."""
    backbone = create_backbone("timm:test_resnet", "random")
    transform = backbone.transform.replace(resize=side + 4, crop=side)
    return create_backbone("timm:test_resnet", "random", transform=transform)


def save_model(
    folder: Path,
    backbone: Backbone,
    *,
    n_layers: int = 2,
    stride: int | None = 2,
    n_timesteps: int = 8,
    map_size: tuple[int, int] | None = None,
    keeps_positions: tuple[int, int] | None = None,
    windows: tuple[int, int] | None = None,
    task: str = "multi-label",
    is_pooling: bool = False,
    timestep_seconds: float | None = None,
    frames_2019: int | None = None,
    fps: float | None = None,
) -> Path:
    """Write a folder that ``timeception predict`` takes."""
    channels = backbone.out_channels
    layers = TimeceptionSpec(channels, n_layers, 1)
    spec = (
        PoolingSpec(channels, len(CLASSES), 16)
        if is_pooling
        else ClassifierSpec(layers, len(CLASSES), 16, map_size=keeps_positions)
    )
    pipeline: dict[str, Any] = {
        "recipe": "made",
        "task": task,
        "classes": CLASSES,
        "sampling": {"n_timesteps": n_timesteps, "map_size": map_size, "order": "forward"},
        "windows": windows and dict(zip(("length_steps", "stride_steps"), windows, strict=True)),
        "features": extraction_settings(backbone, stride, frames_2019=frames_2019, fps=fps),
        "timestep_seconds": timestep_seconds,
    }
    write_folder(folder, spec, oracle.random_arrays(spec.parameter_shapes()), pipeline)
    return folder
