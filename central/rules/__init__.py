"""Rules: what calls for an alert, and what happens then."""
