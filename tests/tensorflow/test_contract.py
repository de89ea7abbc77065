from __future__ import annotations

import pytest

from tests.contracts import BAD_INPUTS, FrameworkContract, draw_input
from tests.goldens import GoldenContract
from tests.tensorflow.adapter import FunctionAdapter, channels_last
from timeception.tensorflow import timeception_layers


class TestFunction(FrameworkContract, GoldenContract):
    adapter = FunctionAdapter()

    @pytest.mark.parametrize("case", BAD_INPUTS)
    def test_bad_inputs(self, case: str) -> None:
        """The function reads the number of channels from the input, so no number is wrong."""
        shape, words = BAD_INPUTS[case]
        if case == "channels":
            words = r"n_groups must divide in_channels \(41\)"
        with pytest.raises(ValueError, match=words):
            timeception_layers(channels_last(draw_input(shape)), 2, 4, name=f"bad_{case}")
