from scripts.shell.table import columns


def test_columns_line_up():
    assert columns(("name", "n", ""), [("a", "1", "##"), ("longer", "100", "#")]) == (
        "name      n\na         1  ##\nlonger  100  #"
    )
