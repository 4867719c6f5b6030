"""Tables of contacts: numbers that are exact enough, and cells that no spreadsheet runs."""

import csv

from dice_jax.io import contact_table


def test_cells_keep_what_they_say(tmp_path):
    path = tmp_path / "a.csv"
    rows = [("=1+1", "chin, left", 0.123456, 3672.0417, 12), ("-", "lip", 2.5, 0.0, 0)]
    contact_table.write_table(path, ("a", "b", "c", "d", "e"), rows)
    with path.open(newline="") as file:
        header, *read = csv.reader(file)
    assert header == ["a", "b", "c", "d", "e"]
    assert read[0] == ["'=1+1", "chin, left", "0.1235", "3672.042", "12"]
    assert read[1] == ["'-", "lip", "2.5", "0", "0"]
