"""The commands that a person types. Everything heavy is imported by the command that needs it."""
