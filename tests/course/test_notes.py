"""Every chapter has notes for teachers, and only the instructor edition shows them."""

import json

import pytest

from l2m_utils.book.editions import EDITIONS, shown_in
from l2m_utils.book.exercises import cell_tags, text_of
from l2m_utils.book.source import notebook_paths, read_notebook


@pytest.mark.parametrize("name", notebook_paths())
def test_notes_for_teachers(name):
    cells = read_notebook(notebook_paths()[name]).cells
    (note,) = [text_of(cell) for cell in cells if "instructor" in cell_tags(cell)]
    assert 300 < len(note) < 1000 and "{{" not in note
    begins = json.dumps(note[:60], ensure_ascii=False)[1:-1]
    for edition in EDITIONS:
        shown = json.dumps(shown_in({"cells": cells}, edition, name), ensure_ascii=False)
        assert (begins in shown) == (edition == "instructor"), edition
