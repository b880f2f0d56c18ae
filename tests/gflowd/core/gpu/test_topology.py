from gflowd.core.gpu.topology import Ends, words


def test_links_go_over_nvlink_directly_or_by_switches_and_else_over_pci() -> None:
    cards = {name: name for name in "abcd"}
    assert words(
        cards,
        {
            "a": Ends(1, (2, 2), {"b": True, "c": False}, {"b": 50, "c": 20}),
            "b": Ends(2, (1, 1), {}, {}),
            "c": Ends(3, (9, 9, 9), {"a": True}, {"b": 12345}),
            "d": Ends(),
        },
    ) == {
        "a": ("X", "NV2", "PXB", "?"),
        "b": ("NV2", "X", "?", "?"),
        "c": ("NV3", "?", "X", "?"),
        "d": ("?", "?", "?", "X"),
    }


def test_mig_devices_go_over_pci_only() -> None:
    ends = {"a": Ends(1, (2,), {"b": True}, {"b": 30}), "b": Ends(2, (1,), {"a": True}, {"a": 30})}
    assert words({"a": "a", "b0": "b", "b1": "b"}, ends) == {
        "a": ("X", "PHB", "PHB"),
        "b0": ("PHB", "X", "MIG"),
        "b1": ("PHB", "MIG", "X"),
    }
