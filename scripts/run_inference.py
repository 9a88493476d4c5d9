"""Run a SavedModel on pictures or .npz files; see --help."""

from tftrt_toolkit.cli.run_inference import main

if __name__ == "__main__":
    main()
