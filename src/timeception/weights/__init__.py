"""Weights: canonical names, readers of 2019 and native files, saved-model folders.

Importing this loads no framework; PyTorch is loaded when one of its files is read.
"""

from timeception.weights.conversion import convert
from timeception.weights.folder import read_folder, write_folder
from timeception.weights.reading import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "convert", "read_checkpoint", "read_folder", "write_folder"]
