"""Compare a converted SavedModel with its original; see --help."""

from tftrt_toolkit.cli.validate_saved_model import main

if __name__ == "__main__":
    main()
