import pytest

from services.experience_api.settings import ExperienceOptions, ExperienceSettings
from shared.errors import SettingsError
from shared.settings import WithDescriptions, parse


def read(text: str, **env: str) -> ExperienceSettings:
    return parse(text, ExperienceSettings, env)


def test_every_setting_has_a_working_default() -> None:
    options = read("").experience
    assert options.listen.host == "127.0.0.1"
    assert options.listen.port == 8080
    assert options.entity.allow == ()
    assert options.tokens.expires_after_days_disconnected == 30
    assert options.tokens.keys == ()


def test_a_partial_section_keeps_the_other_defaults() -> None:
    options = read("experience: {registrations: {failures: 7}, listen: {host: '::1'}}").experience
    assert options.registrations.failures == 7
    assert options.registrations.max_concurrent == 50
    assert options.listen.port == 8080


def test_every_setting_has_a_description() -> None:
    parts = ExperienceOptions.model_json_schema(schema_generator=WithDescriptions)
    for name, part in {"experience": parts, **parts["$defs"]}.items():
        assert part["description"], name
        for setting, schema in part["properties"].items():
            assert "description" in schema or "$ref" in schema, f"{name}.{setting}"


def test_a_signing_key_comes_from_the_environment_and_is_not_shown() -> None:
    text = "experience: {tokens: {keys: [{id: '2026', secret: '${KEY}'}]}}"
    settings = read(text, KEY="k" * 32)
    (key,) = settings.experience.tokens.keys
    assert key.key().secret == b"k" * 32
    assert "kkkk" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("experience: {entity: {allow: [10.0.0.1/8]}}", "experience.entity.allow", "host bits"),
        ("experience: {trusted_proxies: [lan]}", "experience.trusted_proxies", "'lan'"),
        ("experience: {tokens: {keys: [{id: a, secret: short}]}}", "experience.tokens.keys.0.secret", "32 bytes"),
        (
            f"experience: {{tokens: {{keys: [{{id: a, secret: {'x' * 32}}}, {{id: a, secret: {'y' * 32}}}]}}}}",
            "experience.tokens.keys",
            "two keys with the same id",
        ),
        ("experience: {tokens: {expires_after_days_disconnected: 0}}", "expires_after_days_disconnected", "0"),
        ("experience: {connections: {node: 'a b'}}", "experience.connections.node", "expected 1 to 100 letters"),
        ("experience: {drain_delay: 15, drain_within: 15}", "experience", "30 seconds together; expected at most 22"),
        ("experience: {handshake: {}}", "experience.handshake", "handshakes"),
        (
            "experience: {delivery: {hub: {heartbeat: {second: 5}}}}",
            "experience.delivery.hub.heartbeat.second",
            "seconds",
        ),
        ("experience: {delivery: {history: {limit: 5}}}", "experience.delivery.history.limit", "limit_bytes"),
    ],
)
def test_an_invalid_setting_is_named_with_its_place(text: str, place: str, why: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        read(text)
    assert place in str(wrong.value)
    assert why in str(wrong.value)
    assert "short" not in str(wrong.value)
