"""Imported before anything that loads TensorFlow, so that PyTorch's whole family may follow.

PyTorch's compiler, Triton, and TensorFlow both carry an LLVM. A process that loads TensorFlow's
first and Triton's second crashes (a segmentation fault, seen with TensorFlow 2.21 and the Triton
of PyTorch 2.14); the other order works. ``import torch`` alone is safe in any order, but
torchvision, and with it Lightning and timm, loads Triton. Where both are installed, Triton is
therefore loaded here, which takes a fifth of a second and loads no PyTorch.

Nothing can be done any more where TensorFlow is there already: then import torchvision before it.
"""

import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

if "tensorflow" not in sys.modules and all(map(find_spec, ("tensorflow", "triton"))):
    with suppress(ImportError, OSError):  # one that does not load cannot clash
        import_module("triton")
