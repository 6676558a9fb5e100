"""Who may use the console: roles, passwords, sign-ins, API tokens and the gate before each path."""
