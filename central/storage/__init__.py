"""The database: devices, twins, messages, commands and templates."""
