"""What an evaluation writes: its record on disk, tables, and HTML pages with charts and images."""
