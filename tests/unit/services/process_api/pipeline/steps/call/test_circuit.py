"""The circuit breaker."""

from services.process_api.pipeline.steps.call.circuit import Circuit, CircuitOptions


def made() -> Circuit:
    return Circuit(CircuitOptions(failures=2, open_seconds=30))


def test_it_opens_after_failures_in_a_row() -> None:
    circuit = made()
    circuit.failed(0)
    circuit.succeeded()
    circuit.failed(1)
    assert circuit.wait(1) == 0
    circuit.failed(2)
    assert (circuit.wait(2), circuit.wait(12)) == (30, 20)


def test_one_trial_decides() -> None:
    circuit = made()
    circuit.failed(0)
    circuit.failed(0)
    assert circuit.wait(30) == 0
    assert circuit.wait(30) == 30  # another caller, while the trial runs
    circuit.failed(31)
    assert circuit.wait(32) == 29
    assert circuit.wait(61) == 0
    circuit.succeeded()
    assert circuit.wait(61) == 0
