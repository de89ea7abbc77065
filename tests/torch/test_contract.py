from tests.contracts import FrameworkContract
from tests.torch.adapter import TorchAdapter


class TestTorch(FrameworkContract):
    adapter = TorchAdapter()
