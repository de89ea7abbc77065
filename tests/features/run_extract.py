"""``timeception extract`` with the small backbones, slowed down: run as a program and killed."""

import sys
import time

import typer

from tests.features import videos
from timeception.cli import extract


def slowed(network, seconds):
    class Slow(network):
        def forward(self, frames, endpoint):
            time.sleep(seconds)
            return super().forward(frames, endpoint)

    return Slow


if __name__ == "__main__":
    videos.TinyImages = slowed(videos.TinyImages, float(sys.argv.pop(1)))
    app = typer.Typer(pretty_exceptions_enable=False)
    extract.register(app)
    app()
