"""Tell what a converted SavedModel holds; see --help."""

from tftrt_toolkit.cli.inspect_model import main

if __name__ == "__main__":
    main()
