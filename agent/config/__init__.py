"""The configuration file: the table of its keys, and how it is read and explained."""
