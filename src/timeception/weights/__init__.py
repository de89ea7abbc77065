"""Weights: canonical names, readers of files of 2019 and of this project, saved-model folders.

Importing this module loads no framework. PyTorch is imported when a PyTorch file is read.
"""

from timeception.weights.conversion import convert
from timeception.weights.folder import read_folder, write_folder
from timeception.weights.reading import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "convert", "read_checkpoint", "read_folder", "write_folder"]
