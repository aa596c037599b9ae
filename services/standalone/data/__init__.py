"""Package data: the examples of `trelay run`, and the pom.xml that names Kafka's jars."""

from importlib.resources import files

EXAMPLES = files(__name__) / "examples"
"""A folder with settings and what they watch; read-only: `services.standalone.demo` copies it."""

KAFKA_POM = files(__name__) / "kafka" / "pom.xml"
