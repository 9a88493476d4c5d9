"""Convert a SavedModel to one with TensorRT engines; see --help."""

from tftrt_toolkit.cli.convert_saved_model import main

if __name__ == "__main__":
    main()
