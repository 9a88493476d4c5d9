"""Convert every model of a manifest; see --help."""

from tftrt_toolkit.cli.batch_convert import main

if __name__ == "__main__":
    main()
