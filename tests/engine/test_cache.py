"""A cache's key changes with all that decides a plan, and with nothing else."""

import dataclasses
import os

import numpy as np
import pytest

from tests.onnx_text import model
from tftrt_toolkit.artifacts import ShapeProfile, ShapeRange
from tftrt_toolkit.engine.cache import PlanCache, source_key
from tftrt_toolkit.engine.config import BuildConfig
from tftrt_toolkit.onnx_model import content_hash

DENSE = "dense (float[n, 2] x) => (float[n, 2] y) { y = MatMul(x, w) }"
PROFILE = ShapeProfile({"x": ShapeRange((1, 2), (4, 2), (8, 2))})


def key(config=BuildConfig(), **changes):  # noqa: B008
    parts = {
        "digest": "d",
        "profiles": (PROFILE,),
        "fields": config.key_fields(),
        "flavour": "tensorrt_rtx",
        "version": "1.7",
        "targets": ("8.9",),
    }
    return source_key(**(parts | changes))


def test_every_weight_counts():
    weights = {"w": np.ones((2, 2), np.float32)}
    digest = content_hash(model(DENSE, weights))
    assert digest == content_hash(model(DENSE, {"w": np.ones((2, 2), np.float32)}))
    changed = {"w": np.array([[1, 1], [1, 2]], np.float32)}
    assert digest != content_hash(model(DENSE, changed))
    assert digest != content_hash(model(DENSE.replace("MatMul", "Mul"), weights))


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "e"},
        {"profiles": ()},
        {"profiles": (ShapeProfile(PROFILE.shapes, {"s": ShapeRange((1,), (1,), (1,))}),)},
        {"flavour": "tensorrt"},
        {"version": "1.8"},
        {"targets": ("8.6",)},
    ],
)
def test_each_part_counts(changes):
    assert key(**changes) != key()


def test_each_setting_counts_unless_it_is_marked():
    other = {
        "flavour": "tensorrt",
        "compute_capabilities": ("8.9",),
        "workspace_bytes": 1,
        "optimization_level": 2,
        "sparse_weights": True,
        "tf32": False,
        "layer_details": True,
    }
    assert other.keys() == BuildConfig().key_fields().keys()
    for name, value in other.items():
        assert key(dataclasses.replace(BuildConfig(), **{name: value})) != key(), name
    assert key(BuildConfig(cache_dir="x", stream_bytes=1, engine_per_profile=True)) == key()


def test_files_and_bytes_are_kept(tmp_path):
    cache = PlanCache(tmp_path / "cache")
    assert cache.get("k") is None
    assert cache.put("k", b"plan").read_bytes() == b"plan"
    (tmp_path / "spilled").write_bytes(b"big plan")
    cache.put("f", tmp_path / "spilled")
    assert cache.get("k").read_bytes() == b"plan"
    assert cache.get("f").read_bytes() == b"big plan"
    assert sorted(os.listdir(tmp_path / "cache")) == ["f.json", "f.plan", "k.json", "k.plan"]


@pytest.mark.parametrize("suffix", ["plan", "json"])
def test_damage_counts_as_absent(tmp_path, suffix, caplog):
    cache = PlanCache(tmp_path)
    cache.put("k", b"plan")
    (tmp_path / f"k.{suffix}").write_bytes(b"{damaged")
    assert cache.get("k") is None
    assert "built again" in caplog.text


def test_half_an_entry_counts_as_absent(tmp_path):
    cache = PlanCache(tmp_path)
    cache.put("k", b"plan")
    (tmp_path / "k.json").unlink()
    assert cache.get("k") is None
