"""Build plans for more GPUs into a converted model; see --help."""

from tftrt_toolkit.cli.build_engines import main

if __name__ == "__main__":
    main()
