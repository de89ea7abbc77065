"""The PyTorch adapter."""

from __future__ import annotations

import numpy as np
import torch

from tests.contracts import Arrays
from timeception.spec import ClassifierSpec, TimeceptionSpec
from timeception.torch import Timeception, TimeceptionClassifier


def build(spec: TimeceptionSpec, arrays: Arrays) -> Timeception:
    """Build the stack of layers with the arrays."""
    network = Timeception.from_spec(spec)
    network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return network


class TorchAdapter:
    """Run the PyTorch modules."""

    def build(self, spec: TimeceptionSpec, arrays: Arrays) -> Timeception:
        """Build the stack of layers; subclasses may override it."""
        return build(spec, arrays)

    def prepare(self, network: torch.nn.Module) -> torch.nn.Module:
        """Prepare a network for evaluation; subclasses may override it."""
        return network.eval()

    def features(self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.prepare(self.build(spec, arrays))(torch.from_numpy(x)).numpy()

    def logits(self, spec: ClassifierSpec, arrays: Arrays, x: np.ndarray) -> np.ndarray:
        model = TimeceptionClassifier.from_arrays(spec, arrays)
        with torch.inference_mode():
            return self.prepare(model)(torch.from_numpy(x)).numpy()

    def initial_arrays(self, spec: ClassifierSpec, seed: int) -> Arrays:
        torch.manual_seed(seed)
        return TimeceptionClassifier.from_spec(spec).to_arrays()

    def train(
        self, spec: TimeceptionSpec, arrays: Arrays, x: np.ndarray, cotangent: np.ndarray
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        network = self.build(spec, arrays).train()
        clips = torch.tensor(x, requires_grad=True)
        y = network(clips)
        (y * torch.from_numpy(cotangent)).sum().backward()
        gradients = {name: p.grad.numpy() for name, p in network.named_parameters()}
        gradients["input"] = clips.grad.numpy()
        moved = {name: b.numpy().copy() for name, b in network.named_buffers()}
        return y.detach().numpy(), gradients, moved
