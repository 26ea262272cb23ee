from lmtpd.web.charts import bars, columns, shown, stacked


def test_text_from_the_world_is_neither_markup_nor_control():
    assert shown("<script>'&\x1b") == "&lt;script&gt;&#x27;&amp;" + shown("\x1b")
    assert "\x1b" not in shown("\x1b")


def test_columns_of_a_slot_add_up_from_the_axis():
    drawn = stacked([{"delivered": 3, "refused": 1}, {}], ["a", "b"])

    assert drawn.count("<rect") == 2
    assert 'class="mark delivered" x="0.1" width="0.8" y="25.00" height="75.00"' in drawn
    assert 'class="mark refused" x="0.1" width="0.8" y="0.00" height="25.00"' in drawn


def test_mean_is_drawn_over_the_longest():
    drawn = columns({1: (5.0, 10.0)}, ["a", "b"])

    assert drawn.index('class="mark longest"') < drawn.index('class="mark mean"')
    assert 'y="50.00" height="50.00"' in drawn


def test_bars_are_as_long_as_their_part_of_the_longest():
    drawn = bars([("<b>", 4, "4"), ("c", 1, "1")], kind="mean")

    assert 'width="100.00"' in drawn
    assert 'width="25.00"' in drawn
    assert "&lt;b&gt;" in drawn


def test_nothing_draws_nothing():
    assert "<rect" not in bars([], kind="mean") + stacked([{}], ["a"]) + columns({}, ["a"])
