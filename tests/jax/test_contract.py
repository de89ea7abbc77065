from tests.contracts import FrameworkContract
from tests.jax.adapter import JaxAdapter


class TestJax(FrameworkContract):
    adapter = JaxAdapter()
