"""Sensors of temperature and humidity: one module for each driver, and the policy for all."""
