"""The model of a pass on a cluster."""

import pytest

from cluster_scaling import Terms, simulated_pass, task_stream

FREE = Terms(row=1e-6, variation=0.0, task=0.0, addition=0.0, size=0, latency=0.0)


@pytest.mark.parametrize("n_cores", [1, 2, 100])
def test_work_without_costs_is_divided_evenly(n_cores):
    parts = simulated_pass(FREE, 1e6, n_cores, 4 * n_cores)
    assert parts["total"] == pytest.approx(1.0 / n_cores)
    assert parts["stragglers"] == pytest.approx(0.0, abs=1e-12)


def test_tasks_are_handed_out_one_by_one():
    terms = Terms(row=1e-6, variation=0.0, task=0.01, addition=0.0, size=0, latency=0.0)
    # The last of the 100 tasks begins after 1 s and takes 0.01 s; 100 / 15 merges are tasks too.
    parts = simulated_pass(terms, 1e6, 1000, 100)
    assert parts["total"] == pytest.approx(1.01 + 0.01 * 100 / 15)


def test_a_core_with_one_task_more_is_waited_for():
    parts = simulated_pass(FREE, 3e6, 2, 3)
    assert parts["compute"] == pytest.approx(1.5)
    assert parts["stragglers"] == pytest.approx(0.5)


def test_messages_take_as_long_as_the_network_says():
    terms = Terms(0.0, 0.0, 0.0, addition=0.5, size=100, latency=1.0, bandwidth=100.0)
    parts = simulated_pass(terms, 1.0, 4, 64)
    assert parts["broadcast"] == pytest.approx(2 * 2.0)
    assert parts["tree"] == pytest.approx(2 * 16 * 2.5)


def test_parts_add_up():
    terms = Terms(1e-6, 0.2, 1e-3, 1e-4, 10_000)
    parts = simulated_pass(terms, 1e7, 50, 200)
    assert sum(parts.values()) == pytest.approx(2 * parts["total"])
    assert all(each >= 0 for each in parts.values())


def test_what_workers_do_is_counted_from_the_first_moment_on():
    def task(key, worker, *startstops):
        names = ("action", "start", "stop")
        return {
            "key": key,
            "worker": worker,
            "startstops": [dict(zip(names, each, strict=True)) for each in startstops],
        }

    found = task_stream(
        [
            task("('pass', 0)", "tcp://b", ("compute", 10.0, 11.0)),
            task("('pass-merged', 1, 0)", "tcp://a", ("transfer", 11.0, 11.5), ("compute", 12, 13)),
        ]
    )
    assert [tuple(each.values()) for each in found] == [
        (1, "compute", 0.0, 1.0),
        (0, "transfer", 1.0, 1.5),
        (0, "merge", 2.0, 3.0),
    ]
