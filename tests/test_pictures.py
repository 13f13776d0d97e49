"""Renditions of a figure: dark ones that can be read, narrow ones that stack, the same bytes on every run."""

import re

import matplotlib
from hypothesis import given
from hypothesis import strategies as st

from l2m_utils.pictures import CONTRAST, DARK_PAPER, NARROW_WIDTH, contrast, darkened, on_dark, render, stack
from l2m_utils.plots import colours, use_style

matplotlib.use("Agg")


def two_panels():
    import matplotlib.pyplot as plt

    use_style()
    figure, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    for axes in panels:
        axes.plot([1, 2], [3, 4], label="a curve")
        axes.set_xlabel("x")
        axes.legend()
    panels[0].set_ylabel("bits")
    return figure


@given(st.tuples(*[st.integers(0, 255)] * 3).filter(lambda rgb: max(rgb) - min(rgb) > 8))
def test_every_colour_can_be_read_on_dark_paper(rgb):
    assert contrast(on_dark("#{:02x}{:02x}{:02x}".format(*rgb)), DARK_PAPER) >= CONTRAST


def test_greys_change_places_and_the_palette_stays_apart():
    greys = [contrast(on_dark(f"#{level:02x}{level:02x}{level:02x}"), DARK_PAPER) for level in range(0, 256, 15)]
    assert greys == sorted(greys, reverse=True) and greys[-1] == 1.0 and greys[0] > 14
    palette = [matplotlib.colors.to_hex(colour) for colour in colours(10)]
    assert len({on_dark(colour) for colour in palette}) == len(palette)


def test_a_dark_picture_has_no_white_and_keeps_what_is_a_number():
    wide, _, _ = render(two_panels())
    dark = darkened(wide.decode())
    assert "#ffffff" in wide.decode() and "#ffffff" not in dark and DARK_PAPER in dark
    assert len(re.findall("<path", dark)) == len(re.findall("<path", wide.decode()))
    mesh = '<svg a="1"><g id="QuadMesh_1">\n<path style="fill: #440154"/></g>\n</g><image href="data:#000000"/>#000000</svg>'
    assert darkened(mesh).count("#440154") == 1 and 'data:#000000"/>#e8e8e8' in darkened(mesh)


def test_panels_stack_and_each_has_its_labels():
    figure = two_panels()
    stack(figure)
    figure.canvas.draw()
    upper, lower = (axes.get_window_extent() for axes in figure.axes)
    assert upper.y0 > lower.y1 and abs(upper.x0 - lower.x0) < 1
    assert figure.get_figwidth() == NARROW_WIDTH and figure.get_figheight() > 6
    assert [axes.get_ylabel() for axes in figure.axes] == ["bits", "bits"]
    assert all(axes.yaxis.get_tick_params()["labelleft"] for axes in figure.axes)
    legends = [axes.get_legend().get_window_extent() for axes in figure.axes]
    assert all(legend.y1 < axes.get_window_extent().y0 for legend, axes in zip(legends, figure.axes, strict=True))


def test_the_same_figure_gives_the_same_bytes():
    assert render(two_panels()) == render(two_panels())
