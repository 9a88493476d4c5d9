"""Write a converted model into a Triton model repository: see `--help`."""

from tftrt_toolkit.cli.export_triton import main

if __name__ == "__main__":
    main()
