"""Find the fastest executors for a converted model on this machine; see --help."""

from tftrt_toolkit.cli.tune_model import main

if __name__ == "__main__":
    main()
