"""Linked traits, and what threads do to them."""

import threading

import pytest
import traitlets

from seerlab.widgets._links import Link


class Knob(traitlets.HasTraits):
    bits = traitlets.Int(4)


class Short(traitlets.HasTraits):
    steps = traitlets.Int(0, max=3)


def test_the_target_takes_the_source_at_once_and_both_follow_each_other_until_unlinked():
    one, other = Knob(bits=2), Knob(bits=7)
    link = Link((one, "bits"), (other, "bits"))
    assert other.bits == 2
    one.bits = 5
    assert other.bits == 5
    other.bits = 1
    assert one.bits == 1
    link.unlink()
    one.bits = 8
    assert other.bits == 1


def test_an_error_of_the_taker_is_raised_and_the_next_value_passes():
    one, other = Knob(bits=2), Short()
    Link((one, "bits"), (other, "steps"))
    with pytest.raises(traitlets.TraitError):
        one.bits = 4
    one.bits = 3
    assert other.steps == 3


def test_a_change_during_another_one_is_passed_on():
    one, other = Knob(), Knob()
    passing, go_on = threading.Event(), threading.Event()

    def hold(change):
        if change.new == 5:
            passing.set()
            assert go_on.wait(10)

    other.observe(hold, "bits")
    Link((one, "bits"), (other, "bits"))
    first = threading.Thread(target=setattr, args=(one, "bits", 5))
    first.start()
    assert passing.wait(10)  # the first change is on its way to `other`
    second = threading.Thread(target=setattr, args=(one, "bits", 2))
    second.start()
    while one.bits != 2:
        second.join(0.001)
    go_on.set()
    first.join(10)
    second.join(10)
    assert (one.bits, other.bits) == (2, 2)


def test_two_threads_that_end_on_one_value_end_on_it_everywhere():
    one, other = Knob(), Knob()
    Link((one, "bits"), (other, "bits"))

    def turn():
        for _ in range(200):
            for bits in (7, 1, 5, 2):
                one.bits = bits

    threads = [threading.Thread(target=turn) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (one.bits, other.bits) == (2, 2)
