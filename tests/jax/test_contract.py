from tests.contracts import FrameworkContract
from tests.goldens import GoldenContract
from tests.jax.adapter import JaxAdapter


class TestJax(FrameworkContract, GoldenContract):
    adapter = JaxAdapter()
