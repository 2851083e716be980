from restore.report.table import markdown


def test_columns_are_aligned_and_cells_cannot_break_the_table():
    text = markdown(["picture", "psnr"], [["a|b\n.png", "31.20"], ["mean", "7.00"]])
    assert text.splitlines() == [
        "| picture    |  psnr |",
        "|------------|------:|",
        "| a\\|b\\n.png | 31.20 |",
        "| mean       |  7.00 |",
    ]
