from agent.device.validation import quote


def test_a_quoted_value_is_short_and_has_no_control_characters():
    assert len(quote("x" * 1000)) == 60
    assert "\n" not in quote("a\nb\x1b[31m")


def test_a_value_that_is_not_json_is_quoted_by_its_type():
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert quote(nested) == "a list"
