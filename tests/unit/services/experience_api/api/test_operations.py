import json

from services.experience_api.api.documents import files
from services.experience_api.api.operations import stream_parameters

OPENAPI = json.loads(next(iter(files().values())))


def test_each_parameter_of_an_upgrade_says_what_it_is_for() -> None:
    found = stream_parameters()
    assert "ticket" not in found, "it is among the security schemes"
    assert all(each["description"] for each in found.values())


def test_parameters_that_an_endpoint_refuses_are_not_among_its_own() -> None:
    found = {
        path: {each["name"]: each["schema"] for each in OPENAPI["paths"][path]["get"]["parameters"]}
        for path in ("/ws/publish", "/sse/publish", "/events")
    }
    assert "watermarks" not in found["/events"]
    assert "watermarks" in found["/sse/publish"]
    assert [("answer" in each["heartbeat"]["enum"]) for each in found.values()] == [True, False, False]
