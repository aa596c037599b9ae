"""What has stalled, and what only rests."""

from services.system_api.supervisor.watchdog import Activity, Watch


def test_what_takes_longer_than_its_bound_has_stalled() -> None:
    watch = Watch(10)
    assert watch.stalled(1000) is None
    watch.begin(Activity.POLLING, 100)
    assert watch.stalled(110) is None
    assert watch.stalled(110.1) is Activity.POLLING
    watch.begin(Activity.PUBLISHING, 110.1)
    assert watch.stalled(111) is None
    watch.rest()
    assert watch.stalled(1000) is None


def test_only_the_bus_is_ours() -> None:
    assert {activity for activity in Activity if activity.ours} == {Activity.CONNECTING, Activity.PUBLISHING}
