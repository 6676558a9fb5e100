"""The way of a reading: taken on schedule, and kept on disk until the hub has it."""
