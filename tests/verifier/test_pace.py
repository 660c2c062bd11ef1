"""How often receipts are sent: soon for one revocation, seldom while many come, never later than 100 ms."""

from watchword_verifier.pace import LATEST_S, SOON_S, Pace


def test_the_first_report_is_soon() -> None:
    assert Pace().pause_s == SOON_S


def test_reports_become_seldom_while_revocations_keep_coming() -> None:
    pace, pauses = Pace(), []
    for _ in range(6):
        pace.reported(news=True)
        pauses.append(pace.pause_s)
    assert pauses == [0.04, 0.08, LATEST_S, LATEST_S, LATEST_S, LATEST_S]


def test_a_calm_second_makes_the_next_one_soon_again() -> None:
    pace = Pace()
    for _ in range(6):
        pace.reported(news=True)
    pace.reported(news=False)
    assert pace.pause_s == SOON_S
