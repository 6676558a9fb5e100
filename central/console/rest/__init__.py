"""The paths of IoT Central's REST interface, with its bodies and errors."""
