"""Compare a forward pass in every framework with the loop network in the same framework.

    python -m benchmarks.frameworks --out results/

This runs each installed framework in a separate process, our network and the loop network
alternately, and writes ``frameworks.json`` and ``frameworks.md``. ``--tiny`` runs the same code on
tiny networks. Times are medians of repeated calls; the first call, which compiles, is reported
separately.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import loops
from timeception.spec import TimeceptionSpec

Arrays = dict[str, np.ndarray]
Calls = dict[str, Callable[[], np.ndarray]]

#: By framework: the required package, and the backend of Keras.
FRAMEWORKS = {
    "PyTorch": (("torch",), "none"),
    "Keras on TensorFlow, graph": (("keras", "tensorflow"), "tensorflow"),
    "Keras on TensorFlow, XLA": (("keras", "tensorflow"), "tensorflow"),
    "Keras on JAX": (("keras", "jax"), "jax"),
    "Keras on PyTorch": (("keras", "torch"), "torch"),
    "JAX": (("jax",), "none"),
}
FULL = (TimeceptionSpec(1024), (1, 128, 7, 7, 1024))
TINY = (TimeceptionSpec(40, 2, 4), (2, 16, 2, 3, 40))


def weights(spec: TimeceptionSpec) -> Arrays:
    """Return random canonical arrays."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in spec.parameter_shapes().items():
        spread = 0.1 if len(shape) == 1 else np.sqrt(2 / shape[1])
        values = rng.normal(float(name.endswith(("norm.weight", "running_var"))), spread, shape)
        arrays[name] = values.astype(np.float32)
    return arrays


def calls_of(framework: str, spec: TimeceptionSpec, shape: tuple[int, ...]) -> Calls:
    """Our network and the loop network on the same clip; both return numpy arrays."""
    arrays = weights(spec)
    x = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    if framework == "PyTorch":
        return torch_calls(spec, arrays, x)
    if framework == "JAX":
        return jax_calls(spec, arrays, x)
    return keras_calls(framework, spec, arrays, x)


def torch_calls(spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray) -> Calls:
    """PyTorch, channels first."""
    import torch

    from benchmarks.peers import LoopTimeception
    from timeception.torch import Timeception

    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    network, loop = Timeception.from_spec(spec).eval(), LoopTimeception(spec).eval()
    network.load_state_dict(state)
    loop.load_canonical(state)
    clip = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    run = torch.inference_mode()(lambda module: module(clip).permute(0, 2, 3, 4, 1).numpy())
    return {"ours": lambda: run(network), "loop": lambda: run(loop)}


def jax_calls(spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray) -> Calls:
    """JAX, compiled."""
    import jax

    from timeception.jax import Params, apply

    clip, flat = jax.device_put(x), jax.device_put(_flat(x))
    params, loop_params = Params(spec, arrays), jax.device_put(loops.loop_params(spec, arrays))
    network, loop = jax.jit(apply), jax.jit(loops.jax_loop(spec))
    return {
        "ours": lambda: np.asarray(network(params, clip)),
        "loop": lambda: np.asarray(loop(loop_params, flat)),
    }


def keras_calls(framework: str, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray) -> Calls:
    """Keras on the backend of this process, compiled if the backend compiles."""
    import keras

    from timeception.keras import Timeception

    backend = keras.backend.backend()
    network = Timeception.from_spec(spec)
    network.load_arrays(arrays)
    loop = loops.keras_loop(spec, arrays, x.shape[1], x.shape[2] * x.shape[3])

    def compiled(layer: Any, clip: np.ndarray) -> Callable[[], np.ndarray]:
        tensor = keras.ops.convert_to_tensor(clip)
        if backend == "tensorflow":
            import tensorflow as tf

            function = tf.function(layer, jit_compile=framework.endswith("XLA"))
            return lambda: function(tensor).numpy()
        if backend == "jax":
            import jax

            kinds = (layer.trainable_variables, layer.non_trainable_variables)
            state = [[variable.value for variable in kind] for kind in kinds]
            run = jax.jit(lambda state, x: layer.stateless_call(*state, x)[0])
            return lambda: np.asarray(run(state, tensor))
        import torch

        return torch.inference_mode()(lambda: layer(tensor).numpy())

    return {"ours": compiled(network, x), "loop": compiled(loop, _flat(x))}


def measure(framework: str, tiny: bool, repeats: int) -> dict[str, Any]:
    """Measure one framework in this process; ``difference`` is in standard deviations."""
    calls, first, results = calls_of(framework, *(TINY if tiny else FULL)), {}, {}
    for name, call in calls.items():
        start = time.perf_counter()
        results[name] = call().reshape(-1)
        first[name] = round(time.perf_counter() - start, 2)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):  # alternately, so that both see the same drift of the machine
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            samples[name].append(1000 * (time.perf_counter() - start))
    difference = np.abs(results["ours"] - results["loop"]).max() / results["loop"].std()
    quartiles = {name: np.percentile(times, (25, 50, 75)) for name, times in samples.items()}
    return {
        "ours_ms": quartiles["ours"].round(2).tolist(),
        "loop_ms": quartiles["loop"].round(2).tolist(),
        "speed_up": float(quartiles["loop"][1] / quartiles["ours"][1]),
        "first_call_seconds": first,
        "difference": float(difference),
    }


def measure_in_its_process(framework: str, tiny: bool, repeats: int) -> dict[str, Any]:
    """Measure one framework in a separate process."""
    command = [sys.executable, "-m", "benchmarks.frameworks", "--framework", framework]
    command += ["--repeats", str(repeats), *(["--tiny"] if tiny else [])]
    done = subprocess.run(
        command,
        check=True,
        env={**os.environ, "KERAS_BACKEND": FRAMEWORKS[framework][1]},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(results: dict[str, dict[str, Any]]) -> str:
    """Format the results as Markdown."""
    lines = [
        "| framework | ours, ms | loop, ms | speed-up | first call, ours / loop, s |",
        "|---|---|---|---|---|",
    ]
    for name, found in results.items():
        cells = ["{1:.0f} ({0:.0f} to {2:.0f})".format(*found[f"{k}_ms"]) for k in ("ours", "loop")]
        first = found["first_call_seconds"]
        cells += [f"{found['speed_up']:.1f}", f"{first['ours']:.1f} / {first['loop']:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Describe the machine and the versions."""
    distributions = packages_distributions()
    packages = ("torch", "keras", "tensorflow", "jax")
    found = {name: distributions[name][0] for name in packages if name in distributions}
    versions = {name: version(package) for name, package in found.items()}
    return {"cores": os.cpu_count(), "load_before": os.getloadavg()[0], **versions}


def main(arguments: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Run the installed frameworks, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--framework", choices=FRAMEWORKS, help="measure only this one; print JSON")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--tiny", action="store_true", help="tiny networks, as a test")
    options = parser.parse_args(arguments)
    if options.framework:
        print(json.dumps(measure(options.framework, options.tiny, options.repeats)))
        return {}
    described = machine()
    results = {
        name: measure_in_its_process(name, options.tiny, options.repeats)
        for name, (needed, _) in FRAMEWORKS.items()
        if all(map(find_spec, needed))
    }
    options.out.mkdir(parents=True, exist_ok=True)
    content = {"machine": described, "tiny": options.tiny, "frameworks": results}
    (options.out / "frameworks.json").write_text(json.dumps(content, indent=2))
    machine_text = ", ".join(f"{name} {value}" for name, value in described.items())
    text = f"Median (quartiles) of {options.repeats} calls; {machine_text}.\n\n{table(results)}\n"
    (options.out / "frameworks.md").write_text(text)
    print(text)
    return results


def _flat(x: np.ndarray) -> np.ndarray:
    """Reshape N, T, H, W, C to N, T, H * W, C."""
    return x.reshape(*x.shape[:2], -1, x.shape[-1])


if __name__ == "__main__":
    main()
