"""Write a calibration file; see --help."""

from tftrt_toolkit.cli.calibrate import main

if __name__ == "__main__":
    main()
