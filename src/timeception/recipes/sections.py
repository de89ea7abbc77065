"""The sections of a recipe: every field with its type, default, range and meaning.

``timeception.recipes.reference`` turns the descriptions into the reference page of recipe fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    field_validator,
    model_validator,
)

from timeception import checks
from timeception.datasets.registry import find_kind
from timeception.metrics import find_protocol
from timeception.metrics.timeline_protocols import is_timeline_protocol
from timeception.spec import KERAS_BN_EPS
from timeception.spec.heads import head_names

Fraction = Annotated[float, Field(ge=0, lt=1)]
Globs = tuple[str, ...]
#: Exponent of the focal loss, in every framework.
FOCAL_GAMMA = 2.0

LoggerName = Literal["csv", "tensorboard", "wandb", "mlflow"]


class Section(BaseModel):
    """A group of fields; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SplitSection(Section):
    """Which videos train and which test: globs on video ids, or random shares.

    Without any of these fields, the split in the annotations is used. If globs are given, a video
    that no glob matches is in ``train``, or in no split if ``train`` has globs. Random shares are
    taken from the videos in ``train`` or in no split: the test share first, then validation.
    """

    train: Globs = Field((), description="Globs on video ids, such as `S1_*`.")
    validation: Globs = Field((), description="Globs on video ids.")
    test: Globs = Field((), description="Globs on video ids.")
    test_fraction: Fraction = Field(0.0, description="Random share of the videos to test on.")
    validation_fraction: Fraction = Field(
        0.0, description="Random share of the remaining videos to choose the best epoch by."
    )
    seed: int = Field(0, description="Seed of the random shares.")


class WindowSection(Section):
    """Windows over each video; the timed annotations inside a window are its labels."""

    length_steps: int = Field(ge=1, description="Length of a window, in steps of the bank.")
    stride_steps: int = Field(
        ge=1, description="Distance between the starts of two windows, in steps of the bank."
    )
    min_overlap_steps: float = Field(
        default=0.0, ge=0, description="Steps of a class that a window needs to have its label."
    )


class DataSection(Section):
    """Annotations, features and videos."""

    kind: str = Field(
        description="Form of the annotations. `folder`: one folder per class; `csv`: columns "
        "`path,labels[,split]`; `timed`: columns `video,label,start,end` in seconds; `names`: "
        "labels from video ids by `pattern`; the others read the official files of a data set."
    )
    source: Path = Field(description="The annotations: a file or folder, as `kind` requires.")
    bank: Path | None = Field(None, description="Feature bank to train and test on.")
    videos: Path | None = Field(None, description="Folder of video files, for end-to-end training.")
    task: Literal["multi-label", "single-label", "timeline"] | None = Field(
        None,
        description="`timeline` learns when: scores for each timestep, from timed annotations. The "
        "others override the task that the annotations imply.",
    )
    step_labels: Literal["one", "several"] = Field(
        "several",
        description="With `task: timeline`: classes of a timestep, exactly one or any number.",
    )
    background: str | None = Field(
        None,
        description="With `task: timeline`: the class of timesteps without an action; it is not "
        "counted as an action in tests.",
    )
    n_classes: int | None = Field(
        None, ge=2, description="If given, the annotations must have this number of classes."
    )
    pattern: str | None = Field(
        None, description="With `kind: names`: regular expression with a group named `label`."
    )
    exclude_classes: tuple[str, ...] = Field(
        (), description="Classes to remove from the annotations."
    )
    skip_missing: bool = Field(
        False,
        description="Leave out videos without features (or files) and report them; otherwise they "
        "are an error.",
    )
    trains_on_unlabelled: bool = Field(
        True, description="Keep videos without labels in the training split."
    )
    group: str | None = Field(
        None,
        description="Videos that no random share or fold divides, such as those of one subject: a "
        "regular expression on video ids with one named group, `(?P<subject>P[0-9]+)_`, or a "
        "column of the CSV file.",
    )
    split: SplitSection = Field(SplitSection(), description="Training, validation and test videos.")
    windows: WindowSection | None = Field(
        None, description="With `kind: timed`: learn from windows instead of whole videos."
    )

    @field_validator("kind")
    @classmethod
    def _is_registered(cls, kind: str) -> str:
        return find_kind(kind).name

    @model_validator(mode="after")
    def _fits_its_kind(self) -> DataSection:
        if (self.kind == "names") != (self.pattern is not None):
            raise ValueError("data.kind=names requires data.pattern, and no other kind takes it")
        if self.windows is not None and self.kind != "timed":
            raise ValueError("data.windows requires timed annotations: data.kind=timed")
        if self.task == "timeline" and self.windows is not None:
            raise ValueError("data.windows must be null with data.task=timeline: it takes videos")
        if self.task != "timeline" and (self.step_labels, self.background) != ("several", None):
            raise ValueError("data.step_labels and data.background require data.task=timeline")
        return self


class BackboneSection(Section):
    """The network that makes the features, and how it sees a video."""

    name: str = Field(description="Backbone, as `create_backbone` names it.")
    weights: str | None = Field(
        None, description="Weights file, or `random`; left out, the backbone's default weights."
    )
    endpoint: str | None = Field(
        None, description="Layer whose output is the feature; left out, the backbone's default."
    )
    frames_per_segment: int = Field(
        1, ge=1, description="Successive frames that the backbone takes at once."
    )
    stride_frames: int | None = Field(
        8, ge=1, description="Frames from the start of one segment to the next; with `fps`, null."
    )
    fps: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Segments per second, at equal times in videos of any frame rate; instead of "
        "`stride_frames`.",
    )
    channels: int | None = Field(
        None, ge=1, description="Channels of a feature; a bank with other channels is an error."
    )
    map_size: tuple[int, int] | None = Field(
        None,
        description="Height and width of the maps in the bank; larger maps are averaged.",
    )
    precision: Literal["fp32", "bf16"] | None = Field(
        None,
        description="Arithmetic of the extraction; left out, `extract` uses fp32, and training "
        "takes either.",
    )
    resize: int | None = Field(
        None, ge=1, description="Short side in pixels, instead of the one the weights specify."
    )
    crop: int | None = Field(
        None, ge=1, description="Side of the square crop in pixels, instead of the weights' own."
    )
    options: dict[str, bool | int | float | str] = Field(
        {}, description="Further arguments of `create_backbone`."
    )

    @model_validator(mode="before")
    @classmethod
    def _samples_by_frames_or_by_time(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        stride, fps = fields.get("stride_frames"), fields.get("fps")
        if stride is not None and fps is not None:
            raise ValueError(
                "backbone.stride_frames and backbone.fps exclude each other; got "
                f"{stride!r} and {fps!r}. Set the one that you do not want to null."
            )
        if fps is None and stride is None:
            return {name: value for name, value in fields.items() if name != "stride_frames"}
        return {**fields, "stride_frames": stride}


class SamplingSection(Section):
    """How a clip is sampled from the timesteps of a video or window."""

    n_timesteps: int | None = Field(
        128,
        ge=1,
        description="Timesteps of a clip: one from each of as many equal parts. With `data.task: "
        "timeline`, the length of the random part of a video that training takes; null takes whole "
        "videos.",
    )
    stride_steps: int = Field(
        1,
        ge=1,
        description="With `data.task: timeline`: every how many steps of the bank are used.",
    )

    @property
    def clip_timesteps(self) -> int:
        """Timesteps of a clip; a recipe of clips always has them."""
        assert self.n_timesteps is not None
        return self.n_timesteps

    map_size: tuple[int, int] | None = Field(
        None, description="Height and width that the spatial maps are averaged down to."
    )
    center: bool = Field(
        False,
        description="Subtract from each clip its mean over time: less of the room, more of the "
        "action. Requires `training.scheme: timeception_only`.",
    )
    order: Literal["forward", "shuffled"] = Field(
        "forward",
        description="`shuffled` permutes the timesteps of each clip: a control that shows how much "
        "the order matters.",
    )


class ModelSection(Section):
    """The head on the features."""

    head: str = Field(
        "timeception",
        description="`timeception`, or a baseline: `pooling` (mean and maximum over time, which "
        "ignores order), `linear`, `lstm`, `tcn`, `transformer`, or a plug-in's head.",
    )
    n_layers: int = Field(
        4,
        ge=1,
        description="Timeception layers, each of which halves the timesteps; temporal layers of "
        "`tcn` and `transformer`.",
    )
    n_groups: int | None = Field(
        None, ge=1, description="Channel groups; left out, channels / 128, at least 1."
    )
    is_dilated: bool = Field(
        True, description="Kernels of 3 with dilations 1, 2, 3; `false`: kernels 3, 5, 7."
    )
    expansion: float = Field(
        1.25, gt=0, description="Output channels of a layer, relative to its input channels."
    )
    pool_lookahead: bool = Field(
        True,
        description="Branch 5 looks one step ahead (Keras 2019), or back (PyTorch 2019).",
    )
    bn_eps: float = Field(KERAS_BN_EPS, gt=0, description="Epsilon of the batch normalisations.")
    bn_momentum: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Weight of a new batch in the moving statistics (PyTorch's convention). 0.1 "
        "suits runs of hundreds of steps; constructors default to 0.01, the value of 2019.",
    )
    hidden: int = Field(
        512, ge=1, description="Width of the hidden layer; of the temporal layers of a baseline."
    )
    dropout: tuple[Fraction, Fraction] = Field(
        (0.5, 0.25), description="Dropout rates before the hidden and before the output layer."
    )
    n_refinements: int = Field(
        2, ge=0, description="With `data.task: timeline`: stages that refine the scores."
    )
    keep_spatial: bool = Field(
        False,
        description="Take the maximum over time only, so that the classifier sees where on the map "
        "something happens; `false`: over time and space.",
    )

    @model_validator(mode="before")
    @classmethod
    def _renames(cls, fields: Any) -> Any:
        return renamed(fields, "model", {"keep_positions": "keep_spatial"})

    @field_validator("head")
    @classmethod
    def _is_registered(cls, head: str) -> str:
        return str(checks.one_of("model.head", head, head_names()))


class TrainingSection(Section):
    """Optimisation. Defaults are the settings of 2019, except the number of epochs."""

    scheme: Literal["timeception_only", "end_to_end"] = Field(
        "timeception_only",
        description="`timeception_only` trains the head on a bank; `end_to_end` trains head and "
        "backbone, from video files.",
    )
    epochs: int = Field(100, ge=1, description="Passes over the training split.")
    batch_size: int = Field(16, ge=1, description="Clips of a batch, over all devices together.")
    devices: int = Field(
        1, ge=1, description="GPUs of each node; processes of each node if there is no GPU."
    )
    nodes: int = Field(1, ge=1, description="Machines that train together.")
    strategy: Literal["auto", "ddp"] = Field(
        "auto",
        description="How devices share the work; `auto` uses `ddp` for more than one device.",
    )
    precision: Literal["32", "bf16-mixed", "16-mixed"] = Field(
        "32",
        description="Arithmetic: float32, or mixed with bfloat16 or (on a GPU) float16.",
    )
    accumulate_batches: int = Field(
        1, ge=1, description="Batches whose mean gradient makes an optimiser step."
    )
    loss: str | None = Field(
        None,
        description="`bce` (multi-label), `cross_entropy` (single-label), `focal`, `asymmetric`, "
        "or a plug-in's loss; left out, one of the first two, by the task.",
    )
    class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None = Field(
        None,
        description="Weight of the positives of each class in the loss: `balanced` by their number "
        "in the training split, or `{class: weight}`, 1 for the others.",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="Optimiser.")
    learning_rate: float = Field(0.01, gt=0, description="Learning rate after the warm-up.")
    epsilon: float = Field(1e-4, gt=0, description="Epsilon of Adam and AdamW.")
    weight_decay: float = Field(
        0.0, ge=0, description="L2 penalty of Adam and SGD; decoupled weight decay of AdamW."
    )
    momentum: Fraction = Field(0.9, description="Momentum of SGD.")
    nesterov: bool = Field(False, description="Nesterov momentum; requires SGD with momentum.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate after the warm-up; `cosine` falls to 0."
    )
    warmup_epochs: int = Field(0, ge=0, description="Epochs of linear warm-up.")
    label_smoothing: Fraction = Field(
        0.0,
        description="Share of each target that moves evenly to all classes; in multi-label data, "
        "to both outcomes of each class.",
    )
    step_smoothing: float = Field(
        0.15,
        ge=0,
        allow_inf_nan=False,
        description="With `data.task: timeline` and one class per timestep: weight of the loss "
        "that keeps neighbouring timesteps alike.",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Mix each clip with another of its batch, in shares from Beta(mixup, mixup); 0 "
        "mixes none.",
    )
    clip_norm: PositiveFloat | None = Field(
        None, description="Largest norm of the gradient of all parameters; larger ones are scaled."
    )
    ema_decay: Fraction = Field(
        0.0,
        description="Validate and save an exponential moving average of the weights, with this "
        "decay, less in the first steps; 0 averages none.",
    )
    early_stopping_epochs: int | None = Field(
        None,
        ge=1,
        description="End the training after this number of epochs without a better validation mAP.",
    )
    freeze: Globs = Field(
        (), description="Globs on parameter names that keep their initial values."
    )
    workers: int = Field(0, ge=0, description="Processes (Keras: threads) that sample clips.")
    checkpoint_every: int = Field(10, ge=1, description="Epochs between two checkpoints.")
    loggers: tuple[LoggerName, ...] = Field(
        ("csv",),
        description="Where the values of each epoch are logged: `csv` (always), `tensorboard`, "
        "`wandb` (Weights & Biases, offline), `mlflow` (a local database).",
    )

    @field_validator("precision", mode="before")
    @classmethod
    def _reads_a_number(cls, precision: Any) -> Any:
        return str(precision) if isinstance(precision, int) else precision  # YAML reads 32 as one

    @property
    def n_processes(self) -> int:
        """Processes that train together."""
        return self.devices * self.nodes

    @field_validator("loggers")
    @classmethod
    def _always_csv(cls, loggers: tuple[LoggerName, ...]) -> tuple[LoggerName, ...]:
        return tuple(dict.fromkeys(("csv", *loggers)))

    @model_validator(mode="after")
    def _has_a_momentum_for_nesterov(self) -> TrainingSection:
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError(
                "training.nesterov=true requires training.optimizer=sgd and a training.momentum "
                f"above 0; got {self.optimizer} and {self.momentum:g}"
            )
        return self


class AugmentationSection(Section):
    """Random changes of training clips in time; clips of validation and tests do not change."""

    speed: Fraction = Field(
        0.0,
        description="Play each quarter of a clip faster or slower, by up to this share; the clip "
        "keeps its length and its ends.",
    )
    jitter_steps: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Standard deviation of a random shift of each timestep; the order stays.",
    )
    drop: Fraction = Field(
        0.0, description="Probability that a timestep is replaced with the one before it."
    )


class EndToEndSection(Section):
    """Settings of `training.scheme: end_to_end`. All frames of a clip are augmented alike."""

    backbone_learning_rate: float | None = Field(
        None, ge=0, description="Left out, a tenth of the head's learning rate."
    )
    trains_batch_norm: bool = Field(
        False, description="Also train the backbone's batch norms and update their statistics."
    )
    gradient_checkpointing: bool = Field(
        True, description="Keep the activations of one pass only, and compute them twice."
    )
    segments_per_pass: int = Field(
        32, ge=1, description="Segments that the backbone takes at once."
    )
    crop: Literal["center", "random"] = Field("random", description="Crop of training clips.")
    flip: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability of a mirror image; keep 0 where left and right matter.",
    )
    colour: Fraction = Field(
        0.2, description="Largest relative change of brightness, contrast and saturation."
    )
    cache_megabytes: int = Field(2048, ge=0, description="Memory for decoded, resized frames.")

    @model_validator(mode="after")
    def _counts_each_batch_once(self) -> EndToEndSection:
        if self.trains_batch_norm and self.gradient_checkpointing:
            raise ValueError(
                "end_to_end.trains_batch_norm requires end_to_end.gradient_checkpointing=false: "
                "checkpointing computes each pass twice, so it would count twice in the statistics"
            )
        return self


class TestingSection(Section):
    """Testing, with uniform clips and with random clips whose scores are averaged."""

    batch_size: int = Field(32, ge=1, description="Clips that are scored at once.")
    draws: int = Field(10, ge=1, description="Random clips of each record.")
    protocol: str | None = Field(
        None,
        description="What is measured; left out, the data set's published protocol, else `map` or "
        "`accuracy`.",
    )

    @field_validator("protocol")
    @classmethod
    def _is_known(cls, protocol: str | None) -> str | None:
        if protocol is None or is_timeline_protocol(protocol):
            return protocol
        return find_protocol(protocol).name


class PublishedSection(Section):
    """A figure published by others for these settings: a target, not a result of this project."""

    metric: str = Field(description="What was measured.")
    percent: float = Field(gt=0, le=100, description="The published figure.")
    source: str = Field(description="Where it was published.")
    year: int | None = Field(None, ge=1900, description="Year of publication.")


def renamed(fields: Any, section: str, names: dict[str, str]) -> Any:
    """Give fields that have changed their names the new ones, with a warning.

    Args:
        fields: fields of a section, old or new.
        section: the section's name, for the warning.
        names: new name by old name.
    """
    old = [name for name in names if isinstance(fields, dict) and name in fields]
    for name in old:
        checks.warn_renamed(f"{section}.{name}", f"{section}.{names[name]}")
    return {names.get(k, k): v for k, v in fields.items()} if old else fields
