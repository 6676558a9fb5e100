from central.console.sign_in import sessions


def test_each_secret_is_another_one():
    assert len({sessions.new_secret() for _ in range(100)}) == 100
    assert len(sessions.new_secret()) >= 43  # 256 bits.


def test_an_unused_sign_in_expires_after_the_idle_time():
    assert sessions.expiry(1000.0, 1000.0) == 1000.0 + sessions.IDLE


def test_a_used_sign_in_expires_in_the_end():
    used = 1000.0 + sessions.LONGEST - 60
    assert sessions.expiry(1000.0, used) == 1000.0 + sessions.LONGEST


def test_a_sign_in_is_extended_at_most_every_ten_minutes():
    expires = sessions.expiry(0.0, 0.0)
    assert not sessions.is_worth_renewing(0.0, expires, sessions.RENEWED_AFTER)
    assert sessions.is_worth_renewing(0.0, expires, sessions.RENEWED_AFTER + 1)
    assert not sessions.is_worth_renewing(0.0, sessions.LONGEST, sessions.LONGEST - 1)
