from gflowd.core.gpu import admin_state
from gflowd.core.gpu.admin_state import AdminState, Resumed


def test_without_orders_the_configuration_holds() -> None:
    assert admin_state.read({}, None, "boot") == AdminState(ignored=frozenset())
    assert admin_state.read({"drain": {}}, (1,), "boot").allowed == (1,)


def test_an_order_wins_over_the_configuration() -> None:
    assert admin_state.read({"gpus.allow": {"gpus": [0, 2]}}, (1,), "boot").allowed == [0, 2]
    assert admin_state.read({"gpus.allow": {"gpus": None}}, (1,), "boot").allowed is None


def test_what_people_ordered_is_read() -> None:
    ignored = [{"gpu": "G", "pid": 5, "start": 9, "boot": boot} for boot in ("boot", "before")]
    found = admin_state.read(
        {
            "gpus.drained": {"G": {"reason": "fan", "at": 1.0, "by": "ada"}},
            "gpus.ignored": [*ignored, {"gpu": "G", "pid": 6, "start": 9, "boot": "before"}],
            "gpus.resumed": {"G": {"at": 1.0, "boot": "before", "ecc": 3}, "A": {"at": 2.0, "boot": "boot", "ecc": 3}},
        },
        None,
        "boot",
    )
    assert found.drained == {"G": "fan"}
    assert found.ignored == {("G", 5, 9)}
    assert found.resumed == (Resumed("A", 2.0, 3), Resumed("G", 1.0, 0))
