"""Time a converted SavedModel beside its original; see --help."""

from tftrt_toolkit.cli.benchmark_saved_model import main

if __name__ == "__main__":
    main()
