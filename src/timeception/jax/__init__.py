"""Timeception for JAX: pure functions of parameters and clips, in plain ``jax.numpy``.

Parameters are one pytree that holds the canonical arrays and their spec. ``apply(params, x)`` runs
the network and works under ``jit``, ``grad`` and ``vmap``.

Example:
    >>> import jax
    >>> from timeception.spec import TimeceptionSpec
    >>> params = init(TimeceptionSpec(64, n_layers=2, n_groups=4), jax.random.key(0))
    >>> jax.jit(apply)(params, jax.numpy.zeros((1, 17, 2, 3, 64))).shape
    (1, 4, 2, 3, 100)
"""

from timeception.jax.network import apply, apply_training
from timeception.jax.params import Params, from_pretrained, init, load, save_pretrained

__all__ = [
    "Params",
    "apply",
    "apply_training",
    "from_pretrained",
    "init",
    "load",
    "save_pretrained",
]
