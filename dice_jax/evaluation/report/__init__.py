"""What an evaluation leaves behind: its record on disk, and pages to read."""
