"""How often receipts are sent: soon for one revocation, seldom while many come, at once for who asks."""

from watchword_verifier.pace import LATEST_S, SOON_S, Pace


def test_the_first_report_is_soon() -> None:
    assert Pace().pause_s == SOON_S


def test_reports_become_seldom_while_revocations_keep_coming() -> None:
    pace, pauses = Pace(), []
    for _ in range(8):
        pace.reported(news=True)
        pauses.append(pace.pause_s)
    assert pauses == [0.04, 0.08, 0.16, 0.32, 0.64, LATEST_S, LATEST_S, LATEST_S]


def test_a_calm_second_makes_the_next_one_soon_again() -> None:
    pace = Pace()
    for _ in range(6):
        pace.reported(news=True)
    pace.reported(news=False)
    assert pace.pause_s == SOON_S


def test_who_waits_makes_the_next_one_soon_again() -> None:
    pace = Pace()
    for _ in range(6):
        pace.reported(news=True)
    pace.asked()
    assert pace.pause_s == SOON_S
