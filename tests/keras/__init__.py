"""Keras on the backend in ``KERAS_BACKEND``, or on the first that is installed."""

import os
from importlib.util import find_spec

import pytest

_INSTALLED = [name for name in ("tensorflow", "jax", "torch") if find_spec(name)]
if not _INSTALLED or not find_spec("keras"):
    pytest.skip("Keras, or a backend for it, is not installed", allow_module_level=True)
os.environ.setdefault("KERAS_BACKEND", _INSTALLED[0])
