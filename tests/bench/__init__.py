"""What `make bench` measures; README.md here says how, and keeps the figures."""
