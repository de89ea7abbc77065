"""Tests of the plain JAX network; they need nothing but JAX."""

import pytest

pytest.importorskip("jax", reason="JAX is not installed")
