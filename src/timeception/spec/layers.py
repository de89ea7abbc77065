"""The Timeception layers, and every constant in which the frameworks differ.

Standard library only. Each framework package builds its parameters and operations from these
records, so that one set of weights gives the same results everywhere.

Source: Hussein, Gavves, Smeulders, "Timeception for Complex Action Recognition", CVPR 2019,
section 3; the semantics are those of the Keras network of 2019 (``pool_lookahead=True``,
``bn_eps=1e-3``, dilations by default).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import floor, prod, sqrt
from typing import Any

from timeception import checks

N_BRANCHES = 5  # pointwise, three temporal convolutions, temporal maximum
KERAS_BN_EPS = 1e-3
TORCH_BN_EPS = 1e-5
KERAS_BN_MOMENTUM = 0.01  # weight of the new batch, so what Keras calls a momentum of 0.99
TORCH_BN_MOMENTUM = 0.1
LEAKY_SLOPE = 0.2
DEPTHWISE_BIAS_INIT = 0.1  # the Keras network of 2019; kernels are Glorot uniform
CHANNELS_PER_GROUP = 128  # the published recipes: 8 groups for 1024 channels, 16 for 2048

#: Temporal offsets of the taps of branches 2 to 4, in timesteps; zero padding on both sides.
DILATED_TAPS = ((-1, 0, 1), (-2, 0, 2), (-3, 0, 3))
KERNEL_TAPS = ((-1, 0, 1), (-2, -1, 0, 1, 2), (-3, -2, -1, 0, 1, 2, 3))


def default_groups(in_channels: int) -> int:
    """Return the default number of groups: the largest divisor of channels up to channels / 128.

    Example:
        >>> default_groups(1024), default_groups(2048), default_groups(128), default_groups(320)
        (8, 16, 1, 2)
    """
    checks.positive_int("in_channels", in_channels)
    wanted = max(1, in_channels // CHANNELS_PER_GROUP)
    return next(n for n in range(wanted, 0, -1) if in_channels % n == 0)


@dataclass(frozen=True)
class LayerSpec:
    """One Timeception layer: channels, groups and temporal taps.

    Channels of the layer before the shuffle are ordered (group, branch, channel).
    """

    in_channels: int
    n_groups: int
    branch_channels: int
    taps: tuple[tuple[int, ...], ...]
    pool_lookahead: bool

    @property
    def out_channels(self) -> int:
        """Channels after the five branches of every group are concatenated."""
        return N_BRANCHES * self.n_groups * self.branch_channels

    @property
    def group_channels(self) -> int:
        """Input channels of one group."""
        return self.in_channels // self.n_groups

    @property
    def temporal_channels(self) -> int:
        """Channels of one branch over all groups."""
        return self.n_groups * self.branch_channels

    @property
    def margin(self) -> int:
        """Timesteps that the layer reads to either side, before its temporal pooling."""
        return max(abs(offset) for taps in self.taps for offset in taps)

    @property
    def pool_offset(self) -> int:
        """Offset of the second step of branch 5's maximum: +1 looks ahead, -1 looks back."""
        return 1 if self.pool_lookahead else -1

    @property
    def pointwise_bound(self) -> float:
        """Glorot bound of the pointwise kernels, which are initialised from U(-bound, bound).

        Source: Keras 2019, where each group and branch had a separate kernel.
        """
        return sqrt(6 / (self.group_channels + self.branch_channels))

    def temporal_bound(self, branch: int) -> float:
        """Return the Glorot bound for the depthwise kernels of temporal branch 0, 1 or 2.

        Source: Keras 2019, whose kernel of k x 1 x channels x 1 has a fan-in of k * channels and
        a fan-out of k.
        """
        return sqrt(6 / (len(self.taps[branch]) * (self.branch_channels + 1)))

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return canonical names and shapes of the arrays, moving statistics included."""
        out, temporal = (self.out_channels,), self.temporal_channels
        shapes: dict[str, tuple[int, ...]] = {
            "pointwise.weight": (self.out_channels, self.group_channels),
            "pointwise.bias": out,
        }
        for branch, taps in enumerate(self.taps):
            shapes[f"temporal.{branch}.weight"] = (temporal, len(taps))
            shapes[f"temporal.{branch}.bias"] = (temporal,)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"norm.{leaf}"] = out
        return shapes

    def n_macs(self, timesteps: int, height: int, width: int) -> int:
        """Count multiply-accumulates of the convolutions for one clip, without biases and norms."""
        per_position = self.out_channels * self.group_channels
        per_position += self.temporal_channels * sum(map(len, self.taps))
        return per_position * timesteps * height * width


@dataclass(frozen=True)
class TimeceptionSpec:
    """A stack of Timeception layers.

    Args:
        in_channels: channels of the backbone's features.
        n_layers: number of layers; each halves the number of timesteps.
        n_groups: channel groups; must divide ``in_channels``.
        is_dilated: use kernels of size 3 with dilations 1, 2, 3; otherwise sizes 3, 5, 7.
        expansion: ratio of output to input channels of a layer (rounded down per branch).
        pool_lookahead: branch 5 computes max(x[t], x[t+1]) (Keras 2019); otherwise
            max(x[t-1], x[t]), with max(x[0], x[1]) as the first step (PyTorch 2019).
        bn_eps: epsilon of every batch normalisation (Keras 2019: 1e-3; PyTorch 2019: 1e-5).
        bn_momentum: weight of the new batch in the moving statistics, in every framework and
            every file: ``moving = (1 - bn_momentum) * moving + bn_momentum * batch``. PyTorch
            calls this number the momentum; Keras calls ``1 - bn_momentum`` the momentum. It
            affects training only. Specs and constructors default to 0.01, like Keras 2019. Recipes
            default to 0.1, like PyTorch, so that the statistics settle within about 45 steps, not
            460: many runs on small data sets are short. The packaged recipes of 2019 set 0.01.

    Raises:
        ValueError: if an argument is out of range or ``n_groups`` does not divide ``in_channels``.

    Example:
        >>> spec = TimeceptionSpec(in_channels=1024, n_layers=4)
        >>> spec.out_channels, spec.n_parameters, spec.output_timesteps(128)
        (2480, 1494304, 8)
    """

    in_channels: int
    n_layers: int = 4
    n_groups: int = 8
    is_dilated: bool = True
    expansion: float = 1.25
    pool_lookahead: bool = True
    bn_eps: float = KERAS_BN_EPS
    bn_momentum: float = KERAS_BN_MOMENTUM

    def __post_init__(self) -> None:
        for name in ("in_channels", "n_layers", "n_groups"):
            object.__setattr__(self, name, checks.positive_int(name, getattr(self, name)))
        is_divisor = self.in_channels % self.n_groups == 0
        wanted = f"divide in_channels ({self.in_channels})"
        advice = f"Try n_groups={default_groups(self.in_channels)}."
        checks.require(is_divisor, "n_groups", wanted, self.n_groups, advice)
        checks.require(self.expansion > 0, "expansion", "be positive", self.expansion)
        checks.require(self.bn_eps > 0, "bn_eps", "be positive", self.bn_eps)
        checks.require(0 < self.bn_momentum <= 1, "bn_momentum", "lie in (0, 1]", self.bn_momentum)
        checks.require(
            all(layer.branch_channels >= 1 for layer in self.layers),
            "n_groups",
            "leave at least one channel per branch and group: "
            "in_channels * expansion / (5 * n_groups) >= 1",
            self.n_groups,
            "Use fewer groups or a larger expansion.",
        )

    @cached_property
    def layers(self) -> tuple[LayerSpec, ...]:
        """The layers, first to last."""
        taps = DILATED_TAPS if self.is_dilated else KERNEL_TAPS
        layers, channels = [], self.in_channels
        for _ in range(self.n_layers):
            width = floor(channels * self.expansion / (N_BRANCHES * self.n_groups))
            layers.append(LayerSpec(channels, self.n_groups, width, taps, self.pool_lookahead))
            channels = layers[-1].out_channels
        return tuple(layers)

    @property
    def out_channels(self) -> int:
        """Channels after the last layer."""
        return self.layers[-1].out_channels

    def output_timesteps(self, timesteps: int) -> int:
        """Return the timesteps after the last layer: halved ``n_layers`` times, rounding down.

        Raises:
            ValueError: if ``timesteps`` is below ``2 ** n_layers``.
        """
        wanted = f"be at least 2 ** n_layers = {self.min_timesteps}"
        advice = "Use more timesteps or fewer layers."
        checks.require(timesteps >= self.min_timesteps, "timesteps", wanted, timesteps, advice)
        return timesteps >> self.n_layers

    def check_input(self, shape: Sequence[int | None], layout: str = "NCTHW") -> None:
        """Check the shape of an input; ``layout`` names its axes, an unknown size is ``None``.

        Raises:
            ValueError: if the rank, the channels or the timesteps do not fit.

        Example:
            >>> TimeceptionSpec(1024).check_input((None, 128, 7, 7, 1024), "NTHWC")
        """
        check_input(self.in_channels, shape, layout)
        timesteps = shape[layout.index("T")]
        if timesteps is not None:
            self.output_timesteps(timesteps)

    @property
    def min_timesteps(self) -> int:
        """Timesteps of the shortest input, which gives one output step."""
        return int(2**self.n_layers)

    @property
    def receptive_field(self) -> int:
        """Input timesteps that one output step depends on, including padding."""
        field, step = 1, 1
        for layer in self.layers:
            field += (2 * layer.margin + 1) * step  # both margins, and the pooling's second step
            step *= 2
        return field

    def n_macs(self, timesteps: int, height: int = 1, width: int = 1) -> int:
        """Count multiply-accumulates of the convolutions for one clip."""
        self.output_timesteps(timesteps)
        return sum(
            layer.n_macs(timesteps >> index, height, width)
            for index, layer in enumerate(self.layers)
        )

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return canonical names (``layers.0.pointwise.weight``, ...) and shapes of all arrays."""
        return {
            f"layers.{index}.{name}": shape
            for index, layer in enumerate(self.layers)
            for name, shape in layer.parameter_shapes().items()
        }

    @property
    def n_parameters(self) -> int:
        """Number of parameters, moving statistics included."""
        return count_parameters(self.parameter_shapes())

    @property
    def n_trainable_parameters(self) -> int:
        """Number of parameters that are trained by gradient."""
        return count_parameters(self.parameter_shapes(), is_trainable)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TimeceptionSpec:
        """Build a spec from the fields of ``to_dict``; unknown fields are errors."""
        return cls(**known_fields(cls, fields))

    def replace(self, **changes: Any) -> TimeceptionSpec:
        """Return a copy with the given fields changed."""
        return replace(self, **changes)


def check_input(in_channels: int, shape: Sequence[int | None], layout: str = "NCTHW") -> None:
    """Check the rank and channels of an input; ``layout`` names its axes.

    Args:
        in_channels: channels of the network's input.
        shape: shape of the input; an unknown size is ``None``.
        layout: one letter per axis.

    Raises:
        ValueError: if the rank or the channels do not fit.
    """
    axes, given = ", ".join(layout), tuple(shape)
    checks.require(len(given) == len(layout), "input", f"have {len(layout)} axes, {axes}", given)
    axis = layout.index("C")
    wanted = f"have {in_channels} channels on axis {axis} of {axes}"
    checks.require(given[axis] in (None, in_channels), "input", wanted, given)


def channels_of(in_channels: int | Iterable[int | None], layout: str = "NCTHW") -> int:
    """Return the number of channels, given directly or as the shape of an input.

    Raises:
        ValueError: if it is neither.

    Example:
        >>> channels_of(64), channels_of((1, 64, 128, 7, 7))
        (64, 64)
    """
    if isinstance(in_channels, Iterable) and not isinstance(in_channels, str):
        shape = tuple(in_channels)  # TensorFlow's shapes are not sequences
        wanted = f"be a number, or the shape of an input of 5 axes, {', '.join(layout)}"
        checks.require(len(shape) == len(layout), "in_channels", wanted, shape)
        return checks.positive_int("in_channels", shape[layout.index("C")])
    return checks.positive_int("in_channels", in_channels)


def is_trainable(name: str) -> bool:
    """Return whether the array with this canonical name is trained by gradient."""
    return not name.endswith(("running_mean", "running_var", "running_std"))


def count_parameters(shapes: Mapping[str, tuple[int, ...]], keep: Any = lambda name: True) -> int:
    """Count the elements of all arrays whose names ``keep`` accepts."""
    return sum(prod(shape) for name, shape in shapes.items() if keep(name))


def known_fields(cls: Any, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``fields`` if the class has all of them; the error names the nearest known field."""
    known = list(cls.__dataclass_fields__)
    for name in fields:
        checks.one_of(f"field of {cls.__name__}", name, known)
    return fields
