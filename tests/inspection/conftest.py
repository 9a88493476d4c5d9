from pathlib import Path

import pytest

from tftrt_toolkit import ShapeRange, ToolkitOptions, TrtGraphConverterV2

MODEL = Path(__file__).resolve().parents[2] / "saved_models" / "digits_cnn"


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """A model whose pooling stays native between engines, with plans for one target."""
    directory = tmp_path_factory.mktemp("inspection") / "converted"
    converter = TrtGraphConverterV2(
        str(MODEL),
        use_dynamic_shape=True,
        precision_mode="FP16",
        options=ToolkitOptions(
            compute_capabilities=["8.9"],
            native_ops=["MaxPool"],
            input_shapes={"image": ShapeRange((1, 8, 8, 1), (4, 8, 8, 1), (8, 8, 8, 1))},
        ),
    )
    converter.convert()
    converter.save(str(directory))
    return directory
