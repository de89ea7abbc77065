"""A folder of small videos, and tiny backbones."""

import pytest

from tests.features.videos import make_folder
from timeception.backbones import create_backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def images():
    return create_backbone("tiny_images")


@pytest.fixture
def videos():
    return create_backbone("tiny_videos")
