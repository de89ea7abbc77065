"""``timeception extract`` with the small backbones, slowed down: run as a program and killed."""

import sys
import time

import typer

from tests.features import videos
from timeception.cli import extract

PAUSE_SECONDS = float(sys.argv.pop(1))


class SlowImages(videos.TinyImages):
    def forward(self, frames, endpoint):
        time.sleep(PAUSE_SECONDS)
        return super().forward(frames, endpoint)


videos.TinyImages = SlowImages
app = typer.Typer(pretty_exceptions_enable=False)
extract.register(app)
app()
