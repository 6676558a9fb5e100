"""The log: its events, and the journal."""
