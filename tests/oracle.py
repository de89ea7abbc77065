"""The network in plain numpy float64, one loop a group and one a branch: slow, and easy to read.

Every framework is held to it. It takes the canonical arrays by name and shares no code with the
package but the spec.
"""

from __future__ import annotations

import numpy as np

from timeception.spec import (
    LEAKY_SLOPE,
    ClassifierSpec,
    LayerSpec,
    LocalizerSpec,
    TimeceptionSpec,
)


def random_arrays(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of a trained look: scales of both signs, variances around one, small biases."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes.items():
        if name.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif name.endswith("norm.weight"):
            values = rng.uniform(0.8, 1.2, shape) * rng.choice([-1, 1], shape, p=[0.3, 0.7])
        elif len(shape) == 1:
            values = rng.normal(0, 0.1, shape)
        else:
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        arrays[name] = values.astype(np.float32)
    return arrays


def below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays under ``prefix``, which is cut off."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def batch_norm(
    x: np.ndarray, arrays: dict[str, np.ndarray], eps: float, training: bool
) -> np.ndarray:
    """Normalise axis 1 by the moving statistics, or by the batch's own in training."""
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axes) if training else np.float64(arrays["norm.running_mean"])
    variance = x.var(axes) if training else np.float64(arrays["norm.running_var"])
    scale = arrays["norm.weight"] / np.sqrt(variance + eps)
    by_channel = (-1,) + (1,) * (x.ndim - 2)
    shifted = (x - mean.reshape(by_channel)) * scale.reshape(by_channel)
    return shifted + arrays["norm.bias"].reshape(by_channel)


def temporal_conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, taps: tuple) -> np.ndarray:
    """Depthwise convolution over time of N, C, T, H, W; zeros beyond both ends."""
    n_timesteps = x.shape[2]
    out = np.zeros_like(x)
    for t in range(n_timesteps):
        for tap, offset in enumerate(taps):
            if 0 <= t + offset < n_timesteps:
                out[:, :, t] += weight[:, tap].reshape(-1, 1, 1) * x[:, :, t + offset]
    return out + bias.reshape(-1, 1, 1, 1)


def temporal_maximum(x: np.ndarray, lookahead: bool) -> np.ndarray:
    """Branch 5: the maximum of each step and the next one, or the one before."""
    out = x.copy()
    if lookahead:
        out[:, :, :-1] = np.maximum(x[:, :, :-1], x[:, :, 1:])
    else:
        out[:, :, 1:] = np.maximum(x[:, :, :-1], x[:, :, 1:])
        out[:, :, 0] = out[:, :, 1]
    return out


def layer(
    spec: LayerSpec, arrays: dict[str, np.ndarray], x: np.ndarray, eps: float, training: bool
) -> np.ndarray:
    """One Timeception layer."""
    width, per_group = spec.branch_channels, 5 * spec.branch_channels
    groups = []
    for group in range(spec.n_groups):
        piece = x[:, group * spec.group_channels : (group + 1) * spec.group_channels]
        branches = []
        for branch in range(5):
            first = group * per_group + branch * width
            rows = slice(first, first + width)
            y = np.einsum("oc,ncthw->nothw", arrays["pointwise.weight"][rows], piece)
            y = y + arrays["pointwise.bias"][rows].reshape(-1, 1, 1, 1)
            if 1 <= branch <= 3:
                own = slice(group * width, (group + 1) * width)
                weight = arrays[f"temporal.{branch - 1}.weight"][own]
                bias = arrays[f"temporal.{branch - 1}.bias"][own]
                y = temporal_conv(y, weight, bias, spec.taps[branch - 1])
            elif branch == 4:
                y = temporal_maximum(y, spec.pool_lookahead)
            branches.append(y)
        groups.append(np.concatenate(branches, axis=1))
    y = batch_norm(np.concatenate(groups, axis=1), arrays, eps, training)
    y = np.maximum(y, 0)
    order = np.arange(spec.out_channels).reshape(spec.n_groups, -1).T.reshape(-1)
    y = y[:, order]
    pairs = y.shape[2] // 2
    return np.maximum(y[:, :, 0 : 2 * pairs : 2], y[:, :, 1 : 2 * pairs : 2])


def features(
    spec: TimeceptionSpec, arrays: dict[str, np.ndarray], x: np.ndarray, training: bool = False
) -> np.ndarray:
    """The stack of layers: N, C, T, H, W to N, C', T', H, W."""
    y = np.float64(x)
    for index, layer_spec in enumerate(spec.layers):
        y = layer(layer_spec, below(arrays, f"layers.{index}."), y, spec.bn_eps, training)
    return y


def logits(
    spec: ClassifierSpec, arrays: dict[str, np.ndarray], x: np.ndarray, training: bool = False
) -> np.ndarray:
    """The classifier's scores before the sigmoid or softmax (dropout left out in training)."""
    y = features(spec.timeception, below(arrays, "timeception."), x, training)
    y = y.max((2, 3, 4)) if spec.map_size is None else y.max(2).reshape(len(y), -1)
    y = y @ np.float64(arrays["hidden.weight"]).T + arrays["hidden.bias"]
    y = batch_norm(y, arrays, spec.timeception.bn_eps, training)
    y = np.where(y > 0, y, LEAKY_SLOPE * y)
    return y @ np.float64(arrays["output.weight"]).T + arrays["output.bias"]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Probabilities of independent classes."""
    return 1 / (1 + np.exp(-x))


def localizer_stages(
    spec: LocalizerSpec, arrays: dict[str, np.ndarray], x: np.ndarray
) -> list[np.ndarray]:
    """The localizer's logits N, classes, T of each stage, in evaluation, for at least 2 ** layers
    timesteps."""
    n_timesteps, layers = x.shape[2], below(arrays, "timeception.")
    mean, std = (arrays[f"input_norm.running_{leaf}"] for leaf in ("mean", "std"))
    y = (np.float64(x) - mean.reshape(-1, 1, 1, 1)) / std.reshape(-1, 1, 1, 1)
    total = pointwise(y.max((3, 4)), below(arrays, "projections.0."))
    for index, layer_spec in enumerate(spec.timeception.layers):
        y = layer(layer_spec, below(layers, f"layers.{index}."), y, spec.timeception.bn_eps, False)
        level = pointwise(y.max((3, 4)), below(arrays, f"projections.{index + 1}."))
        last = level.shape[2] - 1
        for t in range(n_timesteps):
            total[:, :, t] += level[:, :, min(t // 2 ** (index + 1), last)]
    stages = [pointwise(np.maximum(total, 0), below(arrays, "output."))]
    for stage in range(spec.n_refinements):
        own, scores = below(arrays, f"refinements.{stage}."), stages[-1]
        if spec.is_multilabel:
            probabilities = sigmoid(scores)
        else:
            exponents = np.exp(scores - scores.max(1, keepdims=True))
            probabilities = exponents / exponents.sum(1, keepdims=True)
        y = pointwise(probabilities, below(own, "input."))
        for block in range(8):
            kernel = below(own, f"blocks.{block}.temporal.")
            out = np.zeros_like(y)
            for t in range(n_timesteps):
                for tap in range(3):
                    source = t + (tap - 1) * 2**block
                    if 0 <= source < n_timesteps:
                        out[:, :, t] += y[:, :, source] @ np.float64(kernel["weight"][:, :, tap]).T
            out = np.maximum(out + kernel["bias"].reshape(-1, 1), 0)
            y = y + pointwise(out, below(own, f"blocks.{block}.pointwise."))
        stages.append(pointwise(y, below(own, "output.")))
    return stages


def pointwise(x: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """A linear layer of each timestep of N, C, T."""
    return np.einsum("oc,nct->not", arrays["weight"], x) + arrays["bias"].reshape(-1, 1)
