"""Bring a SavedModel of an older TF-TRT to today's TensorFlow; see --help."""

from tftrt_toolkit.cli.migrate_saved_model import main

if __name__ == "__main__":
    main()
