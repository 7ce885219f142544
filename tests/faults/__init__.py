"""What goes wrong with files: full disks, failing ones, truncation, closing, cancellation."""
