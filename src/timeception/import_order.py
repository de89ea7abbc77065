"""Imported before anything that loads TensorFlow, so that PyTorch's compiler can load later.

TensorFlow and Triton, which PyTorch's compiler uses, both contain LLVM. A process crashes with a
segmentation fault if it loads TensorFlow first and Triton second (seen with TensorFlow 2.21 and the
Triton of PyTorch 2.14); the other order works. ``import torch`` alone is safe in any order, but
torchvision, and with it Lightning and timm, loads Triton. If both are installed, this module
therefore loads Triton, which takes a fifth of a second and does not load PyTorch.

If TensorFlow is already loaded, it is too late: import torchvision before TensorFlow.
"""

import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

if "tensorflow" not in sys.modules and all(map(find_spec, ("tensorflow", "triton"))):
    with suppress(ImportError, OSError):  # a Triton that does not load cannot clash
        import_module("triton")
