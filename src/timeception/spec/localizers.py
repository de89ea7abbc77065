"""The localizer: Timeception layers whose temporal resolution is restored, a score per timestep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from timeception import checks
from timeception.spec.layers import TimeceptionSpec, check_input, count_parameters, known_fields

REFINEMENT_BLOCKS = 8  # dilations 1, 2, 4, ..., 128: a reach of 255 timesteps to either side
REFINEMENT_TAPS = 3
REFINEMENT_DROPOUT = 0.2


def uniform_bound(fan_in: int) -> float:
    """Return the bound of the uniform initial values of weights and biases with this fan-in.

    It applies to the projections, the output and the refinement stages.

    Source: the default of PyTorch's linear and convolution layers.
    """
    return 1 / sqrt(fan_in)


@dataclass(frozen=True)
class LocalizerSpec:
    """Scores of each timestep, from the input and from the output of every Timeception layer.

    The input is normalised per channel. The input and each layer's output are pooled over space
    (maximum), projected to ``hidden`` channels, repeated to the input's timesteps, and summed. ReLU
    and a linear layer give the scores of the first stage. Each refinement stage takes the
    probabilities of the stage before it through dilated temporal convolutions to better scores.

    Args:
        timeception: the stack of layers.
        n_classes: number of classes.
        is_multilabel: if true, each class has its own probability (sigmoid); otherwise each
            timestep has one label (softmax).
        hidden: channels of the projections and of the refinement stages.
        n_refinements: number of refinement stages.
        dropout: rates before the layers and before the output of the first stage.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> LocalizerSpec(TimeceptionSpec(128, n_layers=5, n_groups=1), n_classes=11).n_parameters
        669212

    Source: the stages of refinement follow Farha and Gall, "MS-TCN: Multi-Stage Temporal
    Convolutional Network for Action Segmentation", CVPR 2019; the first stage is this project's.
    """

    timeception: TimeceptionSpec
    n_classes: int
    is_multilabel: bool = False
    hidden: int = 64
    n_refinements: int = 2
    dropout: tuple[float, float] = (0.5, 0.3)

    def __post_init__(self) -> None:
        checks.positive_int("n_classes", self.n_classes)
        checks.positive_int("hidden", self.hidden)
        wanted = "be an integer of at least 0"
        is_count = isinstance(self.n_refinements, int) and self.n_refinements >= 0
        checks.require(is_count, "n_refinements", wanted, self.n_refinements)
        checks.require(len(self.dropout) == 2, "dropout", "be two rates", self.dropout)
        rates = tuple(checks.fraction("dropout", rate) for rate in self.dropout)
        object.__setattr__(self, "dropout", rates)

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of the input and of each layer's output: what the projections take."""
        layers = self.timeception.layers
        return (self.timeception.in_channels, *(layer.out_channels for layer in layers))

    def check_input(self, shape: Sequence[int | None], layout: str = "NCTHW") -> None:
        """Check the shape of an input; ``layout`` names its axes, an unknown size is ``None``.

        Raises:
            ValueError: if the rank or the channels do not fit, or there is no timestep.
        """
        check_input(self.timeception.in_channels, shape, layout)
        timesteps = shape[layout.index("T")]
        checks.require(timesteps != 0, "input", "have at least one timestep", tuple(shape))

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return canonical names and shapes of all arrays; layers are under ``timeception.``."""
        hidden, n_classes = self.hidden, self.n_classes
        channels = (self.timeception.in_channels,)
        names = "input_norm.running_mean", "input_norm.running_std"
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, channels)
        layers = self.timeception.parameter_shapes()
        shapes |= {f"timeception.{name}": shape for name, shape in layers.items()}
        for index, width in enumerate(self.level_channels):
            shapes |= _linear(f"projections.{index}", width, hidden)
        shapes |= _linear("output", hidden, n_classes)
        for stage in range(self.n_refinements):
            prefix = f"refinements.{stage}"
            shapes |= _linear(f"{prefix}.input", n_classes, hidden)
            for block in range(REFINEMENT_BLOCKS):
                name = f"{prefix}.blocks.{block}"
                shapes[f"{name}.temporal.weight"] = (hidden, hidden, REFINEMENT_TAPS)
                shapes[f"{name}.temporal.bias"] = (hidden,)
                shapes |= _linear(f"{name}.pointwise", hidden, hidden)
            shapes |= _linear(f"{prefix}.output", hidden, n_classes)
        return shapes

    @property
    def n_parameters(self) -> int:
        """Number of parameters, statistics included."""
        return count_parameters(self.parameter_shapes())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self) | {"dropout": list(self.dropout)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LocalizerSpec:
        """Build a spec from the fields of ``to_dict``; unknown fields are errors."""
        known = dict(known_fields(cls, fields))
        known["timeception"] = TimeceptionSpec.from_dict(known["timeception"])
        return cls(**known)


def _linear(name: str, fan_in: int, fan_out: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (fan_out, fan_in), f"{name}.bias": (fan_out,)}
