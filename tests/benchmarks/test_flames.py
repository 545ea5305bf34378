"""Flame graphs: samples are added up, waits and what all share are left out, no path of the machine is shown."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from flames import Frame, flames, folded, heaviest, named

STACKS = [
    "main (/home/ann/venv/lib/python3.11/site-packages/trio/_core/_run.py:1);parse (claudeproxy/sansio/headers.py:5) 6",
    "main (/home/ann/venv/lib/python3.11/site-packages/trio/_core/_run.py:1);parse (claudeproxy/sansio/headers.py:9) 2",
    "main (trio/_core/_run.py:1);send (/home/ann/claudeproxy/proxy/relay.py:7);write (ssl.py:3) 2",
    "main (trio/_core/_run.py:1);EpollIOManager.get_events (trio/_core/_io_epoll.py:2) 90",
]


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ("parse (/home/ann/src/claudeproxy/sansio/headers.py:12)", "claudeproxy.sansio.headers parse"),
        ("run (/venv/lib/python3.11/site-packages/trio/_core/__init__.py:3)", "trio._core run"),
        ("loads (/usr/lib/python3.11/json/decoder.py)", "json.decoder loads"),
        ("__init__ (<string>:2)", "<string> __init__"),
        ("native", "native"),
    ],
)
def test_frames_are_named_by_module_and_function(frame: str, name: str):
    assert named(frame) == name


def test_samples_add_up_by_function_whatever_the_line_and_without_waits():
    root = folded(STACKS)
    (main,) = root.called.values()
    assert root.samples == main.samples == 10
    assert {name: frame.samples for name, frame in main.called.items()} == {
        "claudeproxy.sansio.headers parse": 8,
        "claudeproxy.proxy.relay send": 2,
    }
    assert heaviest(root, 2) == [("claudeproxy.sansio.headers parse", 0.8), ("ssl write", 0.2)]


def test_a_figure_has_a_box_for_each_frame_as_wide_as_its_share_and_none_for_what_is_in_all_of_them():
    text = flames("a & b", folded(STACKS))
    svg = "{http://www.w3.org/2000/svg}"
    found = {group[0].text: float(group[1].attrib["width"]) for group in ElementTree.fromstring(text).iter(f"{svg}g")}
    assert set(found) == {
        "claudeproxy.sansio.headers parse: 80.0 %",
        "claudeproxy.proxy.relay send: 20.0 %",
        "ssl write: 20.0 %",
    }
    assert found["claudeproxy.sansio.headers parse: 80.0 %"] == pytest.approx(960, abs=1)
    assert "/home" not in text


def test_nothing_sampled_is_an_empty_figure():
    assert "0 samples" in flames("nothing", Frame())
