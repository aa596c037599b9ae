"""Asks the CloudEvents SDK for JavaScript about `attribute_cases`, and records which events it accepts.

    python -m tests.unit.shared.events.record_javascript_sdk

It needs node and npm, and installs the SDK into a temporary folder.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from tests.unit.shared.events.attribute_cases import CASES, event

SDK = "cloudevents@10.0.0"
RECORDED = Path(__file__).with_name("javascript_sdk.json")

_SCRIPT = """
const { CloudEvent, HTTP } = require("cloudevents");
const accepts = (event) => {
  try {
    const headers = { "content-type": "application/cloudevents+json" };
    HTTP.toEvent({ headers, body: JSON.stringify(event) }).validate();
    const made = new CloudEvent(event);
    made.validate();
    JSON.stringify(made);
    return true;
  } catch (error) {
    return false;
  }
};
const events = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(events.map(accepts)));
"""


def main() -> None:
    """Write the verdicts next to this module."""
    events = json.dumps([event(name, value) for name, value in CASES])
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "install", "--silent", SDK], cwd=folder, check=True, timeout=300)
        found = subprocess.run(
            ["node", "-e", _SCRIPT], cwd=folder, input=events, capture_output=True, text=True, check=True, timeout=60
        )
    verdicts = [[name, value, good] for (name, value), good in zip(CASES, json.loads(found.stdout), strict=True)]
    lines = ",\n".join(json.dumps(verdict) for verdict in verdicts)
    RECORDED.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
