"""The operator's console: IoT Central's REST paths, live events and one page, over HTTP."""
