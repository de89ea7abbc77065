"""One set of weights in every framework, each in a separate process, compared as numpy arrays.

``python -m tests.agreement`` prints the table of all frameworks that are installed. The bounds:
features within 1e-4 of their standard deviation, gradients within 1e-3 of their norm.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests import oracle
from tests.contracts import Adapter, Arrays, draw_input
from timeception.spec import TimeceptionSpec


class Framework(NamedTuple):
    """What must be installed, the adapter, and Keras' backend."""

    needed: tuple[str, ...]
    adapter: str
    backend: str = "none"


FRAMEWORKS = {
    "torch": Framework(("torch",), "tests.torch.adapter:TorchAdapter"),
    **{
        f"keras-{backend}": Framework(
            ("keras", backend), "tests.keras.adapter:KerasAdapter", backend
        )
        for backend in ("tensorflow", "jax", "torch")
    },
    "tensorflow": Framework(
        ("keras", "tensorflow"), "tests.tensorflow.adapter:FunctionAdapter", "tensorflow"
    ),
    "jax": Framework(("jax",), "tests.jax.adapter:JaxAdapter"),
}

PUBLISHED = TimeceptionSpec(1024)
FEATURES = {"published, T 128, 7x7": (PUBLISHED, (1, 1024, 128, 7, 7))} | {
    f"{'dilations' if dilated else 'kernels'}, {'ahead' if ahead else 'back'}, T 61, 2x3": (
        PUBLISHED.replace(is_dilated=dilated, pool_lookahead=ahead),
        (1, 1024, 61, 2, 3),
    )
    for dilated in (True, False)
    for ahead in (True, False)
}
GRADIENTS = {
    "gradients, dilations": (TimeceptionSpec(256, 2), (2, 256, 17, 3, 3)),
    "gradients, kernels": (TimeceptionSpec(256, 2, 8, False, 1.25, False), (2, 256, 17, 3, 3)),
}


def adapter_of(framework: str) -> Adapter:
    """The adapter that runs a framework in this process."""
    module, _, name = FRAMEWORKS[framework].adapter.partition(":")
    return getattr(import_module(module), name)()


def run(framework: str, path: Path) -> None:
    """Run all cases in one framework; write the results."""
    adapter, results = adapter_of(framework), {}
    for case, (spec, shape) in FEATURES.items():
        arrays = oracle.random_arrays(spec.parameter_shapes())
        results[case] = adapter.features(spec, arrays, draw_input(shape))
    for case, (spec, shape) in GRADIENTS.items():
        arrays, x = oracle.random_arrays(spec.parameter_shapes()), draw_input(shape)
        out = (shape[0], spec.out_channels, spec.output_timesteps(shape[2]), *shape[3:])
        _, gradients, _ = adapter.train(spec, arrays, x, draw_input(out, seed=7))
        results |= {f"{case}/{name}": gradient for name, gradient in gradients.items()}
    np.savez(path, **results)


def run_in_its_process(framework: str, path: Path) -> Arrays:
    """The results of a framework."""
    environment = {**os.environ, "KERAS_BACKEND": FRAMEWORKS[framework].backend}
    command = [sys.executable, "-m", "tests.agreement", framework, str(path)]
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[1])
    with np.load(path) as file:
        return dict(file)


def expected_features() -> Arrays:
    """The features by the float64 oracle."""
    return {
        case: oracle.features(
            spec, oracle.random_arrays(spec.parameter_shapes()), draw_input(shape)
        )
        for case, (spec, shape) in FEATURES.items()
    }


def feature_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, in standard deviations of the expected values."""
    return float(np.abs(actual - expected).max() / expected.std())


def gradient_error(case: str, actual: Arrays, expected: Arrays) -> float:
    """The largest relative difference of an array's gradient, by its norm.

    Gradients that are zero but for rounding (of biases before a batch normalisation) are
    measured against a hundredth of the largest one.
    """
    names = [name for name in expected if name.startswith(f"{case}/")]
    norms = {name: float(np.linalg.norm(expected[name])) for name in names}
    floor = max(norms.values()) / 100
    return max(
        float(np.linalg.norm(actual[name] - expected[name])) / max(norms[name], floor)
        for name in names
    )


def installed() -> list[str]:
    """The frameworks that can run here."""
    return [name for name, known in FRAMEWORKS.items() if all(map(find_spec, known.needed))]


def errors(framework: str, results: dict[str, Arrays], features: Arrays) -> Iterator[tuple]:
    """Case, error and bound of a framework: features by the oracle, gradients by all others."""
    for case, expected in features.items():
        yield case, feature_error(results[framework][case], expected), 1e-4
    others = [other for other in results if other != framework]
    for case in GRADIENTS if others else ():
        against = (gradient_error(case, results[framework], results[other]) for other in others)
        yield case, max(against), 1e-3


def table(report: Callable[[str], None]) -> None:
    """Report every framework's errors."""
    features = expected_features()
    with tempfile.TemporaryDirectory() as folder:
        results = {
            name: run_in_its_process(name, Path(folder) / f"{name}.npz") for name in installed()
        }
    for framework in results:
        for case, error, bound in errors(framework, results, features):
            report(f"{framework:17} {case:34} {error:9.1e}  (bound {bound:.0e})")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run(sys.argv[1], Path(sys.argv[2]))
    else:
        table(lambda line: sys.stdout.write(f"{line}\n"))
