from tests.contracts import FrameworkContract
from tests.goldens import GoldenContract
from tests.keras.adapter import KerasAdapter


class TestKeras(FrameworkContract, GoldenContract):
    adapter = KerasAdapter()
