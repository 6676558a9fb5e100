from central.console.sign_in.roles import LOCAL, MAY, Permission
from central.records import Role


def test_each_role_may_do_what_the_one_below_may():
    assert MAY[Role.VIEWER] < MAY[Role.OPERATOR] < MAY[Role.ADMINISTRATOR]
    assert MAY[Role.ADMINISTRATOR] == frozenset(Permission)
    assert set(MAY) == set(Role)


def test_without_users_everything_is_allowed_but_keys():
    assert frozenset(Permission) - LOCAL == {Permission.KEYS}
