"""Tests of the PyTorch network; they need nothing but PyTorch."""

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
