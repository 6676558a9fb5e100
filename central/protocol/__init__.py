"""MQTT, SAS tokens, topics and twins as IoT Hub defines them. No input or output."""
