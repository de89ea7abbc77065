"""``timeception zoo``: list and show models, pack and check them."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from timeception.publish.zoo import ZooEntry

COLUMNS = ("recipe", "backbone", "layers", "frames", "timesteps", "parameters", "GMACs")
Runs = Annotated[Path, typer.Option(help="Folder that is searched for trained runs.")]


def register(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer()
    group.callback(invoke_without_command=True)(zoo)
    group.command()(show)
    group.command()(pack)
    group.command()(check)
    app.add_typer(group, name="zoo")


def zoo(
    context: typer.Context,
    runs: Runs = Path("runs"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, including the commands of each recipe.")
    ] = False,
) -> None:
    """List the packaged recipes with costs and published figures; show one; pack trained models.

    Parameters and MACs count the Timeception layers on one clip, plus the classifier if the number
    of classes is known; the backbone is excluded. Published figures come from papers of 2019 and
    later: they are targets, not results of this project.
    """
    if context.invoked_subcommand:
        return
    from timeception.publish.zoo import zoo_entries

    entries = zoo_entries(runs)
    if as_json:
        print(json.dumps([entry.to_dict() for entry in entries], indent=2))
        return
    from timeception.cli.tables import show as print_table
    from timeception.cli.tables import table

    titles = (*COLUMNS, "published", "weights")
    print_table(table(f"{len(entries)} recipes", titles, [_row(entry) for entry in entries]))
    print("parameters, GMACs: layers and classifier on one clip, without the backbone")
    print("published: by others, in the year shown; not measured here. The weights were")
    print("  never released.")
    print(f"weights: trained runs in {runs}. How to train: timeception zoo show RECIPE")


def show(
    name: Annotated[str, typer.Argument(help="Name of a packaged recipe.")],
    runs: Runs = Path("runs"),
) -> None:
    """Show one recipe in full, with the commands that train it."""
    from timeception.publish.zoo import zoo_entries

    (entry,) = zoo_entries(runs, [name])
    fields = entry.to_dict()
    published, commands, notes = (fields.pop(key) for key in ("published", "commands", "notes"))
    for field, value in fields.items():
        print(f"{field.removeprefix('n_').replace('_', ' '):20} {_plain(value)}")
    if published:
        year = f", {published['year']}" if published["year"] else ""
        print(f"{'published' + year:20} {published['metric']} {published['percent']} %")
        print(f"{'':20} {published['source']}; not measured here")
    print(f"\n{fill(notes, 100)}")
    print("\nTrained weights found." if entry.weights else "\nNo trained weights found. To train:")
    for command in commands:
        print(f"  {command}")


def pack(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for the packed model, created.")],
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, as an identifier of the Hugging Face Hub.")
    ] = "gpl-3.0",
) -> None:
    """Pack a trained model: safetensors, config, recipe, model card and SHA256SUMS."""
    from timeception.publish.packing import pack as pack_model

    made = pack_model(run, out, licence=licence)
    print(f"{made}: {', '.join(sorted(path.name for path in made.iterdir()))}")
    print(f"To upload it: hf upload USER/NAME {made}")


def check(
    model: Annotated[str, typer.Argument(help="Folder of a packed model, or a hub id.")],
    sha256: Annotated[
        str | None,
        typer.Option(
            help="Expected SHA-256 hash of model.safetensors.", show_default="not checked"
        ),
    ] = None,
) -> None:
    """Check the hashes of a packed model's files, and that the model loads."""
    from timeception.cli.progress import say_next
    from timeception.inference.saved_model import load_saved
    from timeception.training.runs import model_folder
    from timeception.weights.folder import WEIGHTS_FILE, check_hashes

    folder = model_folder(model)
    hashes = check_hashes(folder)
    if not hashes:
        raise ValueError(f"{folder} has no SHA256SUMS; pack it with `timeception zoo pack`.")
    actual, file = hashes[WEIGHTS_FILE], folder / WEIGHTS_FILE
    if sha256 not in (None, actual):
        raise ValueError(f"{file} must have the SHA-256 hash {sha256}; got {actual}.")
    saved = load_saved(folder)
    for name, digest in hashes.items():
        print(f"{digest}  {name}")
    print(f"valid: {len(saved.classes)} classes, {saved.n_timesteps} timesteps")
    say_next("score videos", "predict", model, "VIDEO.mp4")


def _row(entry: ZooEntry) -> tuple[str, ...]:
    published = entry.published
    return (
        entry.name,
        entry.backbone,
        str(entry.n_layers),
        str(entry.n_frames),
        str(entry.n_timesteps),
        f"{entry.n_parameters or entry.n_layer_parameters:,}",
        f"{entry.n_macs / 1e9:.2f}",
        _published(published) if published else "",
        entry.weights or "none",
    )


def _published(published: dict[str, Any]) -> str:
    year = f" ({published['year']})" if published["year"] else ""
    return f"{published['metric']} {published['percent']}{year}"


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "-")
