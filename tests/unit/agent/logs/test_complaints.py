import logging

from agent.logs.complaints import MOST, Complaints


def test_only_the_first_of_equal_complaints_is_a_warning():
    complaints = Complaints()
    assert complaints.level("name", "too long") == logging.WARNING
    assert complaints.level("name", "too long") == logging.DEBUG
    assert complaints.level("name", "not text") == logging.WARNING
    assert complaints.level("unit", "too long") == logging.WARNING


def test_a_forgotten_complaint_is_a_warning_again():
    complaints = Complaints()
    complaints.level("name", "too long")
    complaints.level("unit", "too long")
    complaints.forget("name")
    assert complaints.level("name", "too long") == logging.WARNING
    assert complaints.level("unit", "too long") == logging.DEBUG


def test_the_last_complaints_are_remembered():
    complaints = Complaints()
    for number in range(MOST + 1):
        complaints.level("name", str(number))
    assert complaints.level("name", str(MOST)) == logging.DEBUG
    assert complaints.level("name", "0") == logging.WARNING
