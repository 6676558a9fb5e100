"""Taking readings on schedule, and keeping them on disk until the hub has acknowledged them."""
