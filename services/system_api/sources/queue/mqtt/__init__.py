"""Topics of an MQTT broker."""
