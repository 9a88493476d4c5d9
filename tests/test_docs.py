"""The documentation builds without a warning, is complete, and its snippets run."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tftrt_toolkit
from tests.keras.models import IMAGES, LABELS, functional
from tftrt_toolkit import errors

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_site_builds_with_warnings_as_errors(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    api = (tmp_path / "api" / "index.html").read_text()
    assert "<strong>batch_sizes</strong>" in api  # fields in docstrings are lists


def test_the_public_api_is_documented():
    text = (DOCS / "api.md").read_text()
    documented = set(re.findall(r"^::: [\w.]+\.(\w+)$", text, re.MULTILINE))
    documented |= set(re.findall(r"`(\w+)`", text))
    names = {*tftrt_toolkit.__all__, *tftrt_toolkit.keras.__all__} - {"__version__", "keras"}
    assert names <= documented
    assert "::: tftrt_toolkit.errors" in text


def test_every_error_message_has_its_mend():
    table = module(ROOT / "scripts" / "error_table.py")
    mends = table.yaml.safe_load(table.MENDS.read_text())
    text = table.PAGE.read_text()
    assert table.page(text, table.tables(mends)) == text, "run `make docs`"
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ToolkitError)
    }
    assert table.error_classes().keys() == classes


def test_a_message_without_a_mend_is_told():
    table = module(ROOT / "scripts" / "error_table.py")
    assert not table.has_own_mend("the model is damaged: …")
    assert table.has_own_mend("the model is damaged: export it again")
    with pytest.raises(ValueError, match="'the model is damaged: …'"):
        table.tables({})
    mends = table.yaml.safe_load(table.MENDS.read_text())
    with pytest.raises(ValueError, match=r"has one for \['nothing raises this'\]"):
        table.tables(mends | {"nothing raises this": "x"})


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_outside_of_the_site(page):
    prose = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", prose):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = ROOT / file if file else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def snippets(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_the_snippets_of_the_pages_on_use_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    model = functional(tf.keras)
    loss = tf.keras.losses.SparseCategoricalCrossentropy()
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])

    class Module(tf.Module):
        weight = tf.Variable(np.eye(64, dtype=np.float32))

        @tf.function
        def __call__(self, x):
            return tf.nn.relu(tf.nn.relu(x @ self.weight) @ self.weight + 1.0)

    names = {
        "tf": tf,
        "tftrt_toolkit": tftrt_toolkit,
        "model": model,
        "x_train": IMAGES[:64],
        "y_train": LABELS[:64],
        "x_test": IMAGES[64:],
        "y_test": LABELS[64:],
        "module": Module(),
        "batch": tf.ones([2, 64]),
    }
    for page in ("converting.md", "keras.md", "serving.md"):
        found = snippets(page)
        assert found
        for snippet in found:
            snippet = snippet.replace('"CONVERTED"', '"converted"').replace("epochs=10", "epochs=1")
            if "TensorRTExport(" in snippet:
                snippet = snippet.replace('"classifier_trt"', '"while_training"')
            exec(snippet, names)
    assert names["outputs"].shape == (2, 64)
    assert [attempt.reason for attempt in names["callback"].attempts] == [""]
    for written in ("converted", "classifier_trt", "while_training", "models/digits/1"):
        assert (tmp_path / written / "saved_model.pb").exists()
