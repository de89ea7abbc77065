"""Entry points of installed packages: loaded once, only when needed, and never a crash."""

import logging
import sys

import pytest

from timeception import plugins
from timeception.backbones import backbone_names, create_backbone, registry

MODULE = """
from timeception.backbones import create_backbone, register

@register("{name}")
def build(name, weights, endpoint, *, seed=0):
    return create_backbone("timm:resnet18", "random", endpoint, seed=seed)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with entry points and a module onto the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    plugins.load.cache_clear()
    yield lambda **given: _install(tmp_path, **given)
    plugins.load.cache_clear()
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]


def _install(root, module, text, target=None, group=registry.ENTRY_POINTS):
    (root / f"{module}.py").write_text(text)
    info = root / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nentry = {target or module}\n")


def test_a_backbone_of_another_package_is_found_by_name(install):
    install(module="fake_one", text=MODULE.format(name="fake_net"))
    create_backbone("timm:resnet18", "random")
    assert "fake_one" not in sys.modules  # known names load no plug-in
    assert create_backbone("fake_net").out_channels == 512
    assert "fake_net" in backbone_names()


def test_names_are_listed_with_those_of_other_packages(install):
    install(module="fake_two", text=MODULE.format(name="fake_family:"))
    assert "fake_family:" in backbone_names()
    assert create_backbone("fake_family:x").out_channels == 512


def test_a_function_is_called_once(install):
    text = "calls = []\n\ndef add():\n    calls.append(1)\n"
    install(module="fake_three", text=text, target="fake_three:add", group="timeception.fake")
    plugins.load("timeception.fake")
    plugins.load("timeception.fake")
    assert sys.modules["fake_three"].calls == [1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        (MODULE.format(name="i3d"), "ValueError: name must be new in the registry; got 'i3d'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_broken_plug_in_is_reported_with_its_package(install, caplog, text, words):
    install(module="fake_broken", text=text)
    install(module="fake_sound", text=MODULE.format(name="fake_net"))
    with caplog.at_level(logging.WARNING, "timeception.plugins"):
        assert {"fake_net", "i3d", "timm:"} <= set(backbone_names())
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        "plug-in 'entry' of the package 'fake_broken' (timeception.backbones)"
    )
    assert words in message
