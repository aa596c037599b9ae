from services.system_api.settings import SystemSettings


def test_the_settings_may_name_the_replica() -> None:
    assert SystemSettings().node is None
    assert SystemSettings.model_validate({"system": {"node": "system-0"}}).node == "system-0"
