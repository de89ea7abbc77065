from tests.contracts import FrameworkContract
from tests.keras.adapter import KerasAdapter


class TestKeras(FrameworkContract):
    adapter = KerasAdapter()
