"""The daemon."""

__version__ = "0.1.0"  # setup.cfg takes it from here.
