"""The bundled digits CNN, converted."""

from pathlib import Path

from tftrt_toolkit import ShapeRange, ToolkitOptions, TrtGraphConverterV2

MODEL = Path(__file__).resolve().parents[1] / "saved_models" / "digits_cnn"


def save_several_engines(directory, precision="FP32"):
    """Convert it with plans for one target; its pooling stays native between the engines."""
    converter = TrtGraphConverterV2(
        str(MODEL),
        use_dynamic_shape=True,
        precision_mode=precision,
        options=ToolkitOptions(
            engine="tensorrt_rtx",
            compute_capabilities=["8.9"],
            native_ops=["MaxPool"],
            input_shapes={"image": ShapeRange((1, 8, 8, 1), (4, 8, 8, 1), (8, 8, 8, 1))},
        ),
    )
    converter.convert()
    converter.save(str(directory))
    return directory
