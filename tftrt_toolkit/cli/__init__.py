"""The commands behind `scripts/`: absl flags, one-line errors, exit codes."""
