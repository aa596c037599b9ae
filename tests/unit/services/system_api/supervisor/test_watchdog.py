"""The watchdog reports a stalled activity, and no pause."""

from services.system_api.supervisor.watchdog import Activity, Watchdog


def test_an_activity_that_exceeds_its_timeout_has_stalled() -> None:
    watchdog = Watchdog(10)
    assert watchdog.stalled(1000) is None
    watchdog.begin(Activity.POLLING, 100)
    assert watchdog.stalled(110) is None
    assert watchdog.stalled(110.1) is Activity.POLLING
    watchdog.begin(Activity.PUBLISHING, 110.1)
    assert watchdog.stalled(111) is None
    watchdog.pause()
    assert watchdog.stalled(1000) is None


def test_which_activities_use_the_bus() -> None:
    assert {activity for activity in Activity if activity.uses_bus} == {Activity.CONNECTING, Activity.PUBLISHING}
