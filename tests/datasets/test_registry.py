"""The registry: what each kind defines, and kinds and protocols of other packages."""

import logging

import pytest

from timeception import plugins
from timeception.datasets import DatasetKind, from_csv, read_videos, register, registry
from timeception.datasets.check import check_folder
from timeception.metrics import PROTOCOLS, find_protocol, measure
from timeception.recipes import sections

PLUGIN = """
from timeception.datasets import DatasetKind, from_csv, register
from timeception.metrics import Protocol, register_protocol
from timeception.metrics.protocols import ProtocolResult


def read(folder):
    return from_csv(folder / "kitchen.labels")


def register_data():
    register(
        DatasetKind("kitchen", read, "first", is_in=lambda f: (f / "kitchen.labels").exists())
    )


def first(scores, targets, class_names=None):
    return ProtocolResult("first", len(scores), 0, {"first": float(scores[0][0])}, {})


def register_first():
    register_protocol(Protocol("first", "the first score", first, is_multilabel=True))
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "kitchen-1.0.dist-info").mkdir(parents=True)
    (site / "kitchen.py").write_text(PLUGIN)
    (site / "kitchen-1.0.dist-info/METADATA").write_text("Name: kitchen\nVersion: 1.0\n")
    (site / "kitchen-1.0.dist-info/entry_points.txt").write_text(
        "[timeception.datasets]\nkitchen = kitchen:register_data\nbroken = kitchen:absent\n"
        "[timeception.protocols]\nfirst = kitchen:register_first\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(registry, "_KINDS", dict(registry._KINDS))
    plugins.load.cache_clear()
    yield
    PROTOCOLS.pop("first", None)
    plugins.load.cache_clear()


def test_kinds_of_other_packages(plugin, tmp_path, caplog):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "kitchen.labels").write_text("path,labels,split\na.mp4,x,train\nsub/b.mp4,y,test\n")
    with caplog.at_level(logging.WARNING):
        assert sections.DataSection(kind="kitchen", source=folder).kind == "kitchen"
    assert "'broken'" in caplog.text
    assert "'kitchen'" in caplog.text
    assert read_videos("kitchen", folder, ["a", "sub/b"]).classes == ("x", "y")
    assert check_folder(folder).kind == "kitchen"
    assert sections.TestingSection(protocol="first").protocol == "first"
    assert measure("first", [[0.5]], [[1]]).values == {"first": 0.5}


def test_every_published_data_set_has_a_known_protocol():
    published = [kind for kind in registry.kinds() if not kind.is_general]
    assert len(published) == 5
    for kind in published:
        assert kind.protocol is not None
        assert find_protocol(kind.protocol).name == kind.protocol


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="name must be new in the registry; got 'csv'"):
        register(DatasetKind("csv", from_csv))


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match=r"must be one of 'charades', .*mean 'charades'"):
        sections.DataSection(kind="charade", source="x")
    with pytest.raises(ValueError, match=r"protocol must be one of 'map', .*'accuracy'"):
        sections.TestingSection(protocol="best")
