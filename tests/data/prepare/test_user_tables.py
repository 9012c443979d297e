"""A user's own images, listed in a table."""

from pathlib import Path

import pytest


def test_a_table_says_it_all(prepare_own, raw_tree, tmp_path):
    raw_tree("a.png", "sub/b.png", "sub/b_mask.png", "c.png")
    (tmp_path / "labels.csv").write_text(
        "image,label,mask,category,defect,phase\n"
        "a.png,0,,nut,,train\n"
        "sub/b.png,1,sub/b_mask.png,nut,scratch,test\n"
        'c.png,normal,,"bolt, long",,\n'
    )
    assert prepare_own(table=tmp_path / "labels.csv") == {
        ("train", "nut", "a.png"): (0, "good", ""),
        ("test", "nut", "sub/b.png"): (1, "scratch", "sub/b_mask.png"),
        ("test", "bolt, long", "c.png"): (0, "good", ""),
    }


@pytest.mark.parametrize(
    "text",
    [
        "image,label\na.png,good\nx/b.png,bad\n",
        "\ufeffFile Name;Is Anomalous\r\na.png;False\r\nx\\b.png;TRUE\r\n",
        "label\t Path \n0\ta.png\n1\tx/b.png\n\n",
        "img_path,anomaly\na.png,0.0\nx/b.png,1.0\n",
        'sep=|\r\nimage|label\r\na.png|ok\r\nx/b.png|"not ok"\r\n',
        '\ufeff"sep=\t"\nimage\tlabel\na.png\t0\nx/b.png\t1\n',
        "# made by hand\n\n;;\n# and again\nimage;label\n./a.png;0\nx/../x//b.png;1\n",
        '{"image": "a.png", "label": false}\n\n{"label": 1, "image": ".\\\\x\\\\b.png"}\n',
    ],
)
def test_tables_are_read_as_programs_write_them(prepare_own, raw_tree, text):
    (raw_tree("a.png", "x/b.png") / "labels.csv").write_bytes(text.encode())
    assert prepare_own(table=Path("labels.csv")) == {
        ("test", "mine", "a.png"): (0, "good", ""),
        ("test", "mine", "x/b.png"): (1, "", ""),
    }


def test_tables_of_spreadsheets_are_read_or_told(prepare_own, raw_tree):
    table = raw_tree("good ü.png", "b.png") / "labels.csv"
    text = "image,label\ngood ü.png,good\nb.png,bad\n"
    table.write_bytes(text.encode("utf-16"))
    assert set(prepare_own(table=table)) == {
        ("test", "mine", "good ü.png"),
        ("test", "mine", "b.png"),
    }
    table.write_bytes(text.encode("cp1252"))
    with pytest.raises(
        ValueError, match=r"labels\.csv is not in UTF-8 \(byte 17\): save it again as CSV in UTF-8"
    ):
        prepare_own(table=table)


def test_missing_columns_and_unknown_labels_are_told(prepare_own, raw_tree, tmp_path):
    raw_tree("a.png")
    (tmp_path / "t.csv").write_text("name,label\na.png,0\n")
    with pytest.raises(
        ValueError, match=r"has no column image, got name, label; expected image,label"
    ):
        prepare_own(table=tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("image,label\na.png,scratch\nb.png,perhaps\n")
    with pytest.raises(
        ValueError, match=r"2 unknown labels \('scratch', 'perhaps'\).*a column named defect"
    ):
        prepare_own(table=tmp_path / "t.csv")
    with pytest.raises(FileNotFoundError, match=r"no table gone\.csv"):
        prepare_own(table=Path("gone.csv"))


def test_a_table_cannot_name_what_is_not_below_the_root(prepare_own, raw_tree, tmp_path, save):
    raw_tree("a.png")
    save(tmp_path / "secret.png")
    (tmp_path / "t.csv").write_text("image,label\n../secret.png,0\nnope.png,1\n")
    with pytest.raises(ValueError, match="outside the root") as caught:
        prepare_own(table=tmp_path / "t.csv")
    assert "missing file: nope.png" in str(caught.value)


def test_an_index_of_absolute_paths_can_move(prepare_own, raw_tree):
    raw = raw_tree("a.png", "x/b.png", "x/b_mask.png")
    table = raw / "t.csv"
    table.write_text(
        f"image,label,mask\n{raw}/a.png,0,\n{raw}/x/./b.png,1,{raw}/x/../x/b_mask.png\n"
    )
    assert prepare_own(table=table) == {
        ("test", "mine", "a.png"): (0, "good", ""),
        ("test", "mine", "x/b.png"): (1, "", "x/b_mask.png"),
    }


@pytest.mark.parametrize("again", ["./a.png", "x/../a.png", ".\\a.png"])
def test_one_file_in_two_spellings_is_listed_twice(prepare_own, raw_tree, again):
    raw = raw_tree("a.png", "x/b.png")
    (raw / "t.csv").write_text(f"# head\nimage,label\na.png,0\nx/b.png,1\n{again},0\n")
    with pytest.raises(ValueError, match=r"listed twice: a\.png \(row 3 of t.csv, row 5 of t"):
        prepare_own(table=raw / "t.csv")


def test_messages_about_a_row_name_its_number(prepare_own, raw_tree):
    raw = raw_tree("a.png")
    table = raw / "t.csv"
    table.write_text("\nimage,label\na.png,0\ngone.png,1\n")
    with pytest.raises(ValueError, match=r"missing file: gone\.png \(row 4 of t\.csv\)"):
        prepare_own(table=table)
    table.write_text('sep=,\nimage,label\n"a.png",0\na.png,perhaps\n')
    with pytest.raises(ValueError, match=r"unknown labels \('perhaps'\) first in row 4"):
        prepare_own(table=table)
    table.write_text('{"image": "a.png", "label": 0}\n{"image": \n')
    with pytest.raises(ValueError, match=r"t\.csv: row 2 is no JSON object"):
        prepare_own(table=table)
