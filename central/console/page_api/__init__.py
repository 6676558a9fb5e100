"""Paths that only the page uses, under /console/api."""
