"""The Lightning module: a model with its loss, optimiser and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from timeception.clips.mixup import sample_mixture
from timeception.clips.task_data import TaskData
from timeception.metrics import accuracy, mean_average_precision
from timeception.recipes.recipe import Recipe
from timeception.recipes.sections import TrainingSection
from timeception.torch import Timeception
from timeception.torch.layers import BatchNorm
from timeception.training.backbone_file import BACKBONE_PREFIX
from timeception.training.schedule import learning_rate_factor
from timeception.training.torch.losses import RecipeLoss


class Training(lightning.LightningModule):
    """Trains a model.

    Args:
        model: maps clips to logits: a head, or a ``VideoClassifier``.
        data: classes and task.
        recipe: settings.
        frozen: names of tensors, as returned by ``tensors``, that training does not change.
    """

    def __init__(
        self, model: nn.Module, data: TaskData, recipe: Recipe, frozen: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.model = model
        self.seed = recipe.seed
        self.is_multilabel = data.is_multilabel
        self.classes = data.classes
        self.recipe, self.settings = recipe, recipe.training
        self.loss: Any = None if recipe.is_timeline else RecipeLoss(recipe.training, data)
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []
        named = tensors(model)
        for name in frozen:
            named[name].requires_grad_(False)
        self._still = _frozen_modules(model, frozen)

    def train(self, mode: bool = True) -> Training:
        """Set training mode; modules whose tensors are all frozen stay in evaluation mode."""
        super().train(mode)
        for module in self._still:
            module.eval()
        return self

    def on_fit_start(self) -> None:
        """Set the mode, which Lightning keeps; on the CPU, use the fastest implementation.

        The C++ kernels compute in float32, so mixed precision leaves the choice to PyTorch.
        """
        self.train()
        is_fast = self.device.type == "cpu" and self.settings.precision == "32"
        for module in self.modules():
            if isinstance(module, Timeception):
                module.use_implementation("auto" if is_fast else "torch")
            elif isinstance(module, BatchNorm):
                module.is_synchronised = self.n_processes > 1

    @property
    def n_processes(self) -> int:
        """Processes that train together."""
        return int(self.trainer.world_size) if self._trainer is not None else 1

    def on_train_epoch_start(self) -> None:
        """Log the learning rate of the epoch: the head's, unless the head is frozen."""
        groups = self.trainer.optimizers[0].param_groups
        rates = {group["initial_lr"]: group["lr"] for group in groups}
        rate = rates.get(self.settings.learning_rate, groups[0]["lr"])
        self.log("learning_rate", rate)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Seed dropout by epoch, batch and process, so that resuming changes nothing."""
        place = np.random.SeedSequence(self._place(batch_index))
        torch.manual_seed(int(place.generate_state(1)[0]))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of one batch."""
        clips, targets = self._mix(*batch, batch_index)
        logits, n_clips = self.model(clips).float(), self.n_clips(batch_index, targets)
        loss = self.loss(logits, targets) if len(targets) else 0 * logits.sum()
        # The mean over the processes, of the loss and of its gradient, is that of all clips.
        loss = loss * (self.n_processes * len(targets) / n_clips)
        self.log(
            "train_loss",
            loss,
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=n_clips,
            sync_dist=True,
        )
        return loss

    def n_clips(self, batch_index: int, targets: Tensor) -> int:
        """Clips of a batch, over all processes."""
        if self.n_processes == 1:
            return len(targets)
        loader: Any = self.trainer.train_dataloader
        return int(loader.batch_sampler.n_clips(batch_index))

    def _place(self, batch_index: int) -> list[int]:
        """What random numbers of a batch depend on."""
        rank = [self.global_rank] if self._trainer is not None and self.global_rank else []
        return [self.seed, self.current_epoch, batch_index, *rank]

    def _mix(self, clips: Tensor, targets: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Mix the clips of a batch, and their targets, if the recipe says so."""
        if not self.settings.mixup:
            return clips, targets
        mixture = sample_mixture(self.settings.mixup, len(clips), self._place(batch))
        partners = torch.from_numpy(mixture.partners).to(clips.device)
        return (
            torch.lerp(clips[partners], clips, mixture.share),
            torch.lerp(targets[partners], targets, mixture.share),
        )

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Keep the logits; loss and metrics are computed once, over the whole split.

        Single-label scores are probabilities, as in tests: softmax changes the order of clips
        within a class, and so the average precision. A sigmoid would not.
        """
        clips, targets = batch
        self._logits.append(self.model(clips).float().cpu())
        self._targets.append(targets.cpu())

    def on_validation_epoch_end(self) -> None:
        """Log loss and mAP, and accuracy for single-label data, of the clips of all processes."""
        empty = torch.empty(0, len(self.classes))
        logits = gathered(torch.cat([*self._logits, empty]), self.n_processes)
        wanted = gathered(torch.cat([*self._targets, empty]), self.n_processes)
        self._logits.clear()
        self._targets.clear()
        self.log("validation_loss", self.loss(logits, wanted))
        scores = (logits if self.is_multilabel else logits.softmax(dim=1)).numpy()
        targets = wanted.numpy()
        result = mean_average_precision(scores, targets, self.classes)
        self.log("validation_map", result.mean, prog_bar=True)
        if not self.is_multilabel:
            self.log("validation_accuracy", accuracy(scores, targets), prog_bar=True)

    @torch.inference_mode()
    def validation_scores(self, loader: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the probabilities and targets of multi-label clips, both (N, n_classes)."""
        device = next(self.model.parameters()).device
        pairs = [(self.model(clips.to(device)).float().sigmoid().cpu(), y) for clips, y in loader]
        scores, targets = (torch.cat(column).numpy() for column in zip(*pairs, strict=True))
        return scores, targets

    def configure_optimizers(self) -> Any:
        """Return the optimiser and the schedule of the recipe."""
        optimizer = make_optimizer(self._groups(), self.settings)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._learning_rate_factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "epoch"},
        }

    def _groups(self) -> list[dict[str, Any]]:
        """Group the trained parameters by learning rate: head and backbone."""
        groups: dict[float, list[Tensor]] = {}
        rates = (backbone_learning_rate(self.recipe), self.settings.learning_rate)
        for name, tensor in tensors(self.model).items():
            if isinstance(tensor, nn.Parameter) and tensor.requires_grad:
                is_head = not name.startswith(BACKBONE_PREFIX)
                groups.setdefault(rates[is_head], []).append(tensor)
        return [{"params": group, "lr": rate} for rate, group in groups.items()]

    def _learning_rate_factor(self, epoch: int) -> float:
        return learning_rate_factor(epoch, self.settings)


def gathered(rows: Tensor, n_processes: int) -> Tensor:
    """Return the rows of all processes in the order of the split.

    Process r has rows r, r + n_processes, ... of the split.
    """
    if n_processes == 1:
        return rows
    parts: list[Any] = [None] * n_processes
    torch.distributed.all_gather_object(parts, rows)
    whole = rows.new_empty((sum(map(len, parts)), *rows.shape[1:]))
    for rank, part in enumerate(parts):
        whole[rank::n_processes] = part
    return whole


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by the names that recipes and saved models use."""
    named = model.state_dict(keep_vars=True)
    return {
        name.removeprefix("head.").replace("backbone.network.", BACKBONE_PREFIX, 1): tensor
        for name, tensor in named.items()
    }


def _frozen_modules(model: nn.Module, frozen: Sequence[str]) -> list[nn.Module]:
    """Return modules whose direct tensors are all frozen, such as batch norms."""
    by_tensor = {id(tensor): name for name, tensor in tensors(model).items()}
    still = []
    for module in model.modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        names = {by_tensor[id(tensor)] for tensor in own if id(tensor) in by_tensor}
        if names and names <= set(frozen):
            still.append(module)
    return still


def make_optimizer(groups: Any, settings: TrainingSection) -> torch.optim.Optimizer:
    """Make the optimiser of a recipe."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, rate, settings.momentum, weight_decay=decay, nesterov=settings.nesterov
        )
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, rate, eps=settings.epsilon, weight_decay=decay)


def backbone_learning_rate(recipe: Recipe) -> float:
    """Return the learning rate of the backbone: by default a tenth of the head's."""
    rate = recipe.end_to_end.backbone_learning_rate
    return recipe.training.learning_rate / 10 if rate is None else rate
