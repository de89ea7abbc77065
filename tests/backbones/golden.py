"""Recorded features of the original networks, from the reference folder beside the project."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

TOLERANCE = 1e-4  # of the output's standard deviation


@dataclass(frozen=True)
class Golden:
    """One JSON file of ``reference``, and the functions that make its weights and inputs."""

    record: dict
    fill: ModuleType

    @classmethod
    def load(cls, shared: Path, name: str) -> "Golden":
        folder = shared / "reference"
        spec = importlib.util.spec_from_file_location("golden_fill", folder / "fill.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return cls(json.loads((folder / f"{name}.json").read_text()), module)

    def state(self) -> dict[str, torch.Tensor]:
        """The weights, under their original names."""
        scale = self.record["norm_scale"]
        return {
            name: torch.from_numpy(np.asarray(self.fill.fill(name, tuple(shape), scale)))
            for name, shape in self.record["state_dict"].items()
        }

    def assert_features(self, backbone, cases=slice(None)) -> None:
        """Run the recorded inputs and compare."""
        for case in self.record["cases"][cases]:
            frames = self.fill.golden_input(tuple(case["input_shape"]), case["input_seed"])
            output = backbone(torch.from_numpy(frames)).numpy()
            assert output.shape == tuple(case["output_shape"])
            atol = TOLERANCE * case["std"]
            for statistic in ("mean", "std", "max"):
                value = getattr(np, statistic)(output.astype(np.float64))
                np.testing.assert_allclose(value, case[statistic], rtol=0, atol=atol)
            probe = output[_index(case["probe_index"])]
            np.testing.assert_allclose(probe, case["probe"], rtol=0, atol=atol)


def _index(text: str) -> tuple:
    """``"output[0, ::32, :, 1, 2]"`` as an index."""
    parts = text.removeprefix("output[").removesuffix("]").split(", ")
    return tuple(
        slice(*(int(n) if n else None for n in part.split(":"))) if ":" in part else int(part)
        for part in parts
    )
