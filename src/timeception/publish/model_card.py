"""The model card: a Markdown page with the metadata that the Hugging Face hub reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timeception
from timeception.recipes.recipe import Recipe
from timeception.spec.heads import spec_class
from timeception.training.runs import Run
from timeception.weights.folder import CONFIG_FILE

PAPER = "Hussein, Gavves, Smeulders, Timeception for Complex Action Recognition, CVPR 2019"

#: Metrics of a test report: the type and the display name on the hub.
_HUB_METRICS = {
    "mean_average_precision": ("mean_average_precision", "mAP"),
    "top_1_accuracy": ("accuracy", "top-1 accuracy"),
    "top_5_accuracy": ("accuracy", "top-5 accuracy"),
}


def model_card(run: Run, hashes: dict[str, str], licence: str) -> str:
    """Return the card: description, use, training, results and files of the model."""
    from huggingface_hub import EvalResult, ModelCardData

    config = json.loads((run.model / CONFIG_FILE).read_text(encoding="utf-8"))
    recipe, pipeline, results = run.recipe(), config["pipeline"], _results(run)
    data_name = recipe.about or recipe.name
    metadata = ModelCardData(
        model_name=recipe.name,
        license=licence,
        library_name="timeception",
        pipeline_tag="video-classification",
        tags=["timeception", "complex-actions", "long-video"],
        eval_results=[
            EvalResult(
                task_type="video-classification",
                dataset_type=recipe.data.kind,
                dataset_name=data_name,
                metric_type=_HUB_METRICS[metric][0],
                metric_name=f"{_HUB_METRICS[metric][1]}, {protocol}, {sampling}",
                metric_value=round(value, 4),
            )
            for protocol, sampling, metric, value in results
        ]
        or None,
    )
    sections = (
        _introduction(recipe.name, recipe.about, config),
        _use(config),
        _training(pipeline, recipe),
        _result_lines(results),
        _files(hashes),
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"


def _introduction(name: str, about: str, config: dict[str, Any]) -> str:
    pipeline, spec = config["pipeline"], config["spec"]
    layers = spec.get("timeception", {})
    kind = f"{layers['n_layers']} Timeception layers" if layers else "a pooling head"
    channels = layers.get("in_channels", spec.get("in_channels"))
    classes = ", ".join(pipeline["classes"])
    sentence = f"{about}." if about else ""
    return (
        f"# {name}\n\n{sentence}\n\n"
        f"A {pipeline['task']} classifier of long videos: {kind} on features of {channels} "
        f"channels, {pipeline['sampling']['n_timesteps']} timesteps a clip "
        f"({PAPER}; the authors' weights were never released, and these are not theirs).\n\n"
        f"Classes ({len(pipeline['classes'])}): {classes}."
    )


def _use(config: dict[str, Any]) -> str:
    from timeception.torch import classifier_class

    spec = spec_class(config["model_type"]).from_dict(config["spec"])
    name = classifier_class(spec).__name__
    return f"""## Use

    pip install timeception
    timeception predict FOLDER video.mp4

```python
from timeception.torch import {name}

model = {name}.from_pretrained("FOLDER")  # this folder, or its id on the hub
```"""


def _training(pipeline: dict[str, Any], recipe: Recipe) -> str:
    training, made = recipe.training, pipeline["features"].get("backbone")
    features = "imported features; their backbone is not part of this model"
    if made:
        weights = made["weights"]
        features = (
            f"backbone {made['name']}, endpoint {made['endpoint']}, weights {weights['source']} "
            f"(licence: {weights['licence']}, sha256 {weights['sha256'][:16]})"
        )
    lines = [
        "## Training\n",
        f"- timeception {timeception.__version__}, with the recipe in this folder",
        f"- {features}",
        f"- {training.scheme}, {training.epochs} epochs, batch {training.batch_size}, "
        f"{training.optimizer}, learning rate {training.learning_rate}, seed {recipe.seed}",
    ]
    if recipe.init_from:
        lines.append(f"- fine-tuned from {Path(recipe.init_from).name}")
    return "\n".join(lines)


def _results(run: Run) -> list[tuple[str, str, str, float]]:
    """(protocol, sampling, metric, value) of the run's test report, if any."""
    file = run.results / "test.json"
    if not file.is_file():
        return []
    report = json.loads(file.read_text(encoding="utf-8"))
    average = ("average_of_draws", f"average of {report['n_draws']} draws")
    return [
        (protocol, title, metric, measured[sampling][metric])
        for protocol, measured in report["protocols"].items()
        for sampling, title in (average, ("equidistant", "equidistant"))
        for metric in _HUB_METRICS
        if metric in measured[sampling]
    ]


def _result_lines(results: list[tuple[str, str, str, float]]) -> str:
    if not results:
        return "## Results\n\nNot tested."
    rows = [
        f"| {protocol} | {sampling} | {_HUB_METRICS[metric][1]} | {value:.4f} |"
        for protocol, sampling, metric, value in results
    ]
    head = "| protocol | segments | metric | value |\n|---|---|---|---|"
    title = "## Results\n\nOn the test split that the recipe names.\n"
    return "\n".join([title, head, *rows])


def _files(hashes: dict[str, str]) -> str:
    lines = [f"- `{name}`: sha256 `{digest}`" for name, digest in hashes.items()]
    return "\n".join(["## Files\n", *lines])
