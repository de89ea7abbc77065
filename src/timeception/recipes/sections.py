"""The sections of a recipe: every field typed, with its default and its range."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from timeception.datasets.registry import find_kind
from timeception.metrics import find_protocol
from timeception.spec import KERAS_BN_EPS

Fraction = Annotated[float, Field(ge=0, lt=1)]
Globs = tuple[str, ...]


class Section(BaseModel):
    """A group of fields; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SplitSection(Section):
    """Which videos train and which test: globs on the video id (``S1_*``), or a random share.

    Left empty, the split named by the data set itself is used. Where globs are told, a video that
    none of them takes is in ``train``, or in no split if ``train`` has globs of its own. Shares are
    of the videos in ``train`` or in no split; ``test`` is drawn first.
    """

    train: Globs = ()
    validation: Globs = ()
    test: Globs = ()
    test_fraction: Fraction = 0.0
    validation_fraction: Fraction = 0.0
    seed: int = 0


class WindowSection(Section):
    """Windows over each video, in bank steps, labelled by the timed annotations within."""

    length_steps: int = Field(ge=1)
    stride_steps: int = Field(ge=1)
    min_overlap_steps: float = Field(default=0.0, ge=0)


class DataSection(Section):
    """What to learn from.

    ``kind``: ``folder`` (a folder a class), ``csv`` (path,labels[,split]), ``timed``
    (video,label,start,end in seconds), ``names`` (label from the video id by the named group
    ``label`` of ``pattern``), or the official files of ``charades``, ``breakfast_activities``,
    ``breakfast_actions``, ``multithumos`` or ``kinetics``. ``source`` is that folder or file.

    ``bank`` holds the features; end-to-end training reads the files in ``videos`` instead.
    ``n_classes``, where told, must be the number that the annotations have. ``skip_missing``
    leaves out the videos that are not there, and names them; otherwise they are an error.
    ``trains_on_unlabelled=false`` leaves videos without any label out of the training split.
    """

    kind: str
    source: Path
    bank: Path | None = None
    videos: Path | None = None
    task: Literal["multi-label", "single-label"] | None = None
    n_classes: int | None = Field(default=None, ge=2)
    pattern: str | None = None
    exclude_classes: tuple[str, ...] = ()
    skip_missing: bool = False
    trains_on_unlabelled: bool = True
    split: SplitSection = SplitSection()
    windows: WindowSection | None = None

    @field_validator("kind")
    @classmethod
    def _is_registered(cls, kind: str) -> str:
        return find_kind(kind).name

    @model_validator(mode="after")
    def _goes_with_its_kind(self) -> DataSection:
        if (self.kind == "names") != (self.pattern is not None):
            raise ValueError("data.pattern goes with data.kind=names, and only with it")
        if self.windows is not None and self.kind != "timed":
            raise ValueError("data.windows needs timed annotations: data.kind=timed")
        return self


class BackboneSection(Section):
    """The network below the head, and how it sees a video.

    ``stride_frames`` lies between the starts of two timesteps in the bank. ``channels`` and
    ``map_size`` (height, width) are those of one timestep's feature; a bank of other channels is
    an error. ``resize`` and ``crop`` (pixels) replace those of the weights' own preprocessing.
    ``options`` go to ``create_backbone``.
    """

    name: str
    weights: str | None = None
    endpoint: str | None = None
    frames_per_segment: int = Field(default=1, ge=1)
    stride_frames: int = Field(default=8, ge=1)
    channels: int | None = Field(default=None, ge=1)
    map_size: tuple[int, int] | None = None
    resize: int | None = Field(default=None, ge=1)
    crop: int | None = Field(default=None, ge=1)
    options: dict[str, bool | int | float | str] = {}


class SamplingSection(Section):
    """How a clip is drawn from a video's (or a window's) features.

    ``map_size`` averages the spatial maps down to (height, width); ``order="shuffled"`` permutes
    each clip's timesteps, the control that shows what the order of time is worth.
    """

    n_timesteps: int = Field(default=128, ge=1)
    map_size: tuple[int, int] | None = None
    order: Literal["forward", "shuffled"] = "forward"


class ModelSection(Section):
    """The head on the features. ``n_groups`` left out: channels / 128, at least 1."""

    head: Literal["timeception", "pooling"] = "timeception"
    n_layers: int = Field(default=4, ge=1)
    n_groups: int | None = Field(default=None, ge=1)
    is_dilated: bool = True
    expansion: float = Field(default=1.25, gt=0)
    pool_lookahead: bool = True
    bn_eps: float = Field(default=KERAS_BN_EPS, gt=0)
    bn_momentum: float = Field(default=0.1, gt=0, le=1)
    hidden: int = Field(default=512, ge=1)
    dropout: tuple[Fraction, Fraction] = (0.5, 0.25)
    keep_positions: bool = False


class TrainingSection(Section):
    """Optimisation. The defaults are those of 2019 but for the number of epochs.

    ``scheme``: ``timeception_only`` trains the head on a bank's features; ``end_to_end`` trains
    the backbone with it, from video files. ``freeze``: globs on parameter names
    (``timeception.layers.0.*``) that keep their initial values.
    """

    scheme: Literal["timeception_only", "end_to_end"] = "timeception_only"
    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=16, ge=2)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(default=0.01, gt=0)
    epsilon: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: Fraction = 0.9
    nesterov: bool = False
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: int = Field(default=0, ge=0)
    label_smoothing: Fraction = 0.0
    freeze: Globs = ()
    workers: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=10, ge=1)


class EndToEndSection(Section):
    """What end-to-end training adds; used with ``training.scheme=end_to_end`` alone.

    ``backbone_learning_rate`` left out is a tenth of the head's. Batch norms of the backbone keep
    their statistics, scales and offsets unless ``trains_batch_norm``. The backbone takes
    ``segments_per_pass`` at once (an image is a segment of one frame); with
    ``gradient_checkpointing`` only one pass's activations are held, and computed twice.

    Every frame of a training clip is treated alike: a random crop (``crop=random``), a mirror
    image with probability ``flip`` (leave it 0 where left and right matter), and brightness,
    contrast and saturation changed by up to the share ``colour``. ``cache_megabytes`` of memory
    keep decoded, resized frames.
    """

    backbone_learning_rate: float | None = Field(default=None, ge=0)
    trains_batch_norm: bool = False
    gradient_checkpointing: bool = True
    segments_per_pass: int = Field(default=32, ge=1)
    crop: Literal["center", "random"] = "random"
    flip: float = Field(default=0.0, ge=0, le=1)
    colour: Fraction = 0.2
    cache_megabytes: int = Field(default=2048, ge=0)

    @model_validator(mode="after")
    def _counts_each_batch_once(self) -> EndToEndSection:
        if self.trains_batch_norm and self.gradient_checkpointing:
            raise ValueError(
                "end_to_end.trains_batch_norm needs end_to_end.gradient_checkpointing=false: "
                "computed twice, a pass would count twice in the moving statistics"
            )
        return self


class TestingSection(Section):
    """Testing: the equidistant draw, and the average of ``draws`` random ones.

    ``protocol`` left out is the published one of the data set; otherwise mAP or accuracy.
    """

    batch_size: int = Field(default=32, ge=1)
    draws: int = Field(default=10, ge=1)
    protocol: str | None = None

    @field_validator("protocol")
    @classmethod
    def _is_known(cls, protocol: str | None) -> str | None:
        return protocol and find_protocol(protocol).name


class PublishedSection(Section):
    """What others published for these settings: a target, never a result of this project."""

    metric: str
    percent: float = Field(gt=0, le=100)
    source: str
    year: int | None = Field(default=None, ge=1900)
