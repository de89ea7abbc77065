"""A trained model, packed to be handed on: weights, a model card, and the hashes of its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import timeception
from timeception import checks
from timeception.files import write_text
from timeception.training.runs import Run, find_run
from timeception.weights.folder import BACKBONE_FILE, CONFIG_FILE, WEIGHTS_FILE, write_hashes

CARD_FILE, RECIPE_FILE = "README.md", "recipe.yaml"
PAPER = "Hussein, Gavves, Smeulders, Timeception for Complex Action Recognition, CVPR 2019"

#: Metrics of a test report, by their names on the hub.
_HUB_METRICS = {
    "mean_average_precision": ("mean_average_precision", "mAP"),
    "top_1_accuracy": ("accuracy", "top-1 accuracy"),
    "top_5_accuracy": ("accuracy", "top-5 accuracy"),
}


def pack(run: str | Path, out: str | Path, *, licence: str = "gpl-3.0") -> Path:
    """Pack a finished run's model.

    Args:
        run: the run folder; where it has ``results/test.json`` the card shows the results.
        out: new folder, which ``from_pretrained`` and ``timeception predict`` take, and which can
            be uploaded to the Hugging Face hub as it is.
        licence: of the weights, as the hub spells it; the data and the backbone that they were
            made with may ask for another.

    Returns:
        ``out``.

    Raises:
        ValueError: if the run is not finished, or ``out`` holds something.
    """
    found, out = find_run(run), Path(out)
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    checks.require(is_free, "out", "be a new or empty folder", str(out))
    out.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, WEIGHTS_FILE, BACKBONE_FILE):
        if (found.model / name).is_file():
            shutil.copyfile(found.model / name, out / name)
    write_text(out / RECIPE_FILE, _recipe_text(found))
    hashes = write_hashes(out)
    write_text(out / CARD_FILE, model_card(found, hashes, licence))
    return out


def model_card(run: Run, hashes: dict[str, str], licence: str) -> str:
    """The card: what the model is, what it was trained on, what it reached, how to use it."""
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
        _use(config["model_type"]),
        _made_with(pipeline, recipe),
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
    return "\n".join(
        [
            f"# {name}",
            "",
            f"{about}." if about else "",
            "",
            f"A {pipeline['task']} classifier of long videos: {kind} on features of {channels} "
            f"channels, {pipeline['sampling']['n_timesteps']} timesteps a clip "
            f"({PAPER}; the paper's own weights were never released, and these are not they).",
            "",
            f"Classes ({len(pipeline['classes'])}): {classes}.",
        ]
    )


def _use(model_type: str) -> str:
    name = "TimeceptionClassifier" if model_type == "timeception" else "PoolingClassifier"
    return f"""## Use

    pip install timeception
    timeception predict FOLDER video.mp4

```python
from timeception.torch import {name}

model = {name}.from_pretrained("FOLDER")  # this folder, or its id on the hub
```"""


def _made_with(pipeline: dict[str, Any], recipe: Any) -> str:
    made = pipeline["features"].get("backbone")
    lines = ["## Made with", "", f"- timeception {timeception.__version__}; the recipe is here too"]
    if made:
        weights = made["weights"]
        lines.append(
            f"- backbone {made['name']}, endpoint {made['endpoint']}, weights {weights['source']} "
            f"(licence: {weights['licence']}, sha256 {weights['sha256'][:16]})"
        )
    else:
        lines.append("- imported features; the network that made them is not part of this model")
    training = recipe.training
    lines.append(
        f"- {training.scheme}, {training.epochs} epochs, batch {training.batch_size}, "
        f"{training.optimizer}, learning rate {training.learning_rate}, seed {recipe.seed}"
    )
    if recipe.init_from:
        lines.append(f"- fine-tuned from {Path(recipe.init_from).name}")
    return "\n".join(lines)


def _results(run: Run) -> list[tuple[str, str, str, float]]:
    """(protocol, sampling, metric, value) of the run's test report, if there is one."""
    file = run.results / "test.json"
    if not file.is_file():
        return []
    report = json.loads(file.read_text(encoding="utf-8"))
    samplings = {
        "average_of_draws": f"average of {report['n_draws']} draws",
        "equidistant": "equidistant",
    }
    return [
        (protocol, title, metric, measured[sampling][metric])
        for protocol, measured in report["protocols"].items()
        for sampling, title in samplings.items()
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
    head = ["| protocol | segments | metric | value |", "|---|---|---|---|"]
    return "\n".join(
        ["## Results", "", "On the test split that the recipe names.", "", *head, *rows]
    )


def _files(hashes: dict[str, str]) -> str:
    lines = [f"- `{name}`: sha256 `{digest}`" for name, digest in hashes.items()]
    return "\n".join(["## Files", "", *lines])


def _recipe_text(run: Run) -> str:
    """The recipe, folders of the maker's machine by their last name alone."""
    recipe = run.recipe()
    places = ("source", "bank", "videos")
    told = {name: getattr(recipe.data, name) for name in places}
    data = {name: Path(path.name) for name, path in told.items() if path is not None}
    changes: dict[str, Any] = {"data": recipe.data.model_copy(update=data)}
    if recipe.init_from:
        changes["init_from"] = Path(recipe.init_from).name
    if recipe.backbone and recipe.backbone.weights:
        weights = {"weights": Path(recipe.backbone.weights).name}
        changes["backbone"] = recipe.backbone.model_copy(update=weights)
    return recipe.model_copy(update=changes).to_yaml()
