"""Tests of the function form and SavedModels; they need Keras on TensorFlow."""

import os

import pytest

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
    pytest.skip("KERAS_BACKEND names another backend", allow_module_level=True)
pytest.importorskip("keras", reason="Keras is not installed")
