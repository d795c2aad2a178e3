"""What `guess` asks, keeps and shows; with our own ipywidgets and with Colab's 7.7.1."""

import io
import math

import numpy as np
import pytest
from PIL import Image

ipywidgets = pytest.importorskip("ipywidgets")
from cnnvis_helpers import guess as module  # noqa: E402
from cnnvis_helpers.guess import guess  # noqa: E402

from common import OLD_WIDGETS, assert_green_with_old_widgets  # noqa: E402


VIEW = "application/vnd.jupyter.widget-view+json"


def says(one):
    return one.verdict.value


def test_a_number_is_committed_once_and_the_answer_stands_beside_it():
    one = guess("How much?", 0.417, between=(0.0, 1.0, 0.05), because="It is <much>.")
    assert one.value == 0.5 and "0.42" not in str([w.value for w in one.box.children[:1]])
    one.controls[0].value = 0.3
    assert not one.committed and one.distance is None and says(one) == ""
    one.button.click()
    assert one.committed and math.isclose(one.distance, 0.117)
    assert "You said 0.30; it is 0.42. It is &lt;much&gt;." in says(one)
    assert one.button.disabled and one.controls[0].disabled
    one.controls[0].value = 0.4  # a program could; the verdict stays
    one.commit()
    assert "You said 0.30" in says(one) and math.isclose(one.distance, 0.117)


def test_whole_numbers_have_their_unit():
    one = guess("How many?", 33.4, between=(0, 100), unit=" %")
    assert one.value == 50 and isinstance(one.controls[0], ipywidgets.IntSlider)
    one.commit()
    assert "You said 50 %; it is 33 %." in says(one)


@pytest.mark.parametrize(("choice", "verdict", "distance"), [
    ("B", "Right: B.", 0.0), ("A", "You said A; it is B.", 1.0)])  # fmt: skip
def test_a_choice_must_be_made_before_it_can_be_committed(choice, verdict, distance):
    one = guess("Which?", "B", choices=["A", "B"])
    assert one.value is None and one.button.disabled
    with pytest.raises(ValueError, match="choose first"):
        one.commit()
    assert not one.committed and says(one) == ""
    one.controls[0].value = choice
    assert one.value == choice and not one.button.disabled
    one.controls[0].index = 0
    assert one.button.disabled
    one.controls[0].value = choice
    one.commit()
    assert verdict in says(one) and one.distance == distance


def ink(one, colour):
    """Count pixels of the picture that are near a colour."""
    pixels = np.asarray(Image.open(io.BytesIO(one.image.value)).convert("RGB"), dtype=int)
    return int((abs(pixels - np.array(colour)).max(2) < 40).sum())


def test_a_point_is_moved_by_sliders_and_the_answer_drawn_after_it():
    one = guess("Where?", (30, 40), picture=Image.new("RGB", (80, 60), "#306030"))
    yellow, white = (255, 213, 74), (255, 255, 255)
    assert one.image in one.box.children and ink(one, yellow) > 50 and ink(one, white) == 0
    one.controls[0].value, one.controls[1].value = 30, 0
    assert one.value == (30, 0) and ink(one, white) == 0
    before = one.image.value
    one.commit()
    assert one.distance == 40 and "40 pixels away" in says(one)
    assert one.image.value != before and ink(one, white) > 50 and ink(one, yellow) > 50


@pytest.mark.parametrize(("answer", "kind", "error", "match"), [
    (2.0, {"between": (0, 1)}, ValueError, "2.0 is not a number from 0 to 1"),
    ("1", {"between": (0, 1)}, ValueError, "'1' is not a number"),
    (0.5, {"between": (1, 0)}, ValueError, "is no slider"),
    ("C", {"choices": ["A", "B"]}, ValueError, "'C' is none of"),
    (1, {"choices": [1, 2]}, ValueError, "none of the texts"),
    ((9, 3), {"picture": np.zeros((4, 4, 3), np.uint8)}, ValueError, "no point"),
    (3, {"picture": np.zeros((4, 4, 3), np.uint8)}, ValueError, "no point"),
    (3, {}, TypeError, "not 0 of them"),
    (3, {"between": (0, 1), "choices": ["A"]}, TypeError, "not 2 of them"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused(answer, kind, error, match):
    with pytest.raises(error, match=match):
        guess("?", answer, **kind)


def test_it_is_shown_once_in_a_notebook_and_not_elsewhere(monkeypatch):
    shown = []
    monkeypatch.setattr(module.display, "display", lambda data, raw: shown.append((data, raw)))
    guess("How much?", 1, between=(0, 2))
    assert shown == []
    monkeypatch.setattr(module, "get_ipython", lambda: object())
    one = guess("How much?", 1, between=(0, 2))
    [(data, raw)] = shown
    assert raw and data[VIEW]["model_id"] == one.box.model_id
    assert one._ipython_display_() is None


@pytest.mark.parametrize(("asked", "text"), [
    ({"answer": 0.417, "between": (0.0, 1.0, 0.05)}, "Name a number from 0.00 to 1.00.\n0.42."),
    ({"answer": 33.4, "between": (0, 100), "unit": " %"},
     "Name a number from 0 % to 100 %.\n33 %."),
    ({"answer": "B", "choices": ["A", "B"]}, "Choose: A, B.\nB."),
    ({"answer": (30, 40.4), "picture": Image.new("RGB", (80, 60))},
     "Point at a place.\n30 across, 40 down."),
])  # fmt: skip
def test_without_controls_the_text_asks_and_its_last_line_answers(asked, text, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "get_ipython", lambda: object())
    monkeypatch.setattr(module.display, "display", lambda data, raw: shown.append(data))
    guess("How\nmuch?", asked.pop("answer"), because="It\nis.", **asked)
    assert shown[0]["text/plain"] == f"{module.WITHOUT}How much? {text} It is."


@pytest.mark.skipif(ipywidgets.__version__.startswith("7.7"), reason="these are the old ones")
@pytest.mark.skipif(not OLD_WIDGETS.is_dir(), reason="the old ones come with make test")
def test_all_of_this_holds_with_the_ipywidgets_of_colab():
    assert_green_with_old_widgets(__file__)
