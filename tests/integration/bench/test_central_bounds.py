from bench import central_bounds


def test_the_bench_of_bounds_prints_its_tables_and_keeps_them(tmp_path, capsys, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"Before.\n{central_bounds.BEGIN}\nold\n{central_bounds.END}\nAfter.\n")
    monkeypatch.setattr(central_bounds, "HELD", 0.2)
    monkeypatch.setattr(central_bounds, "LOOKED", 0.5)
    central_bounds.main(20, [3000], readme)
    printed = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("|")]
    firsts = [row[0].strip() for row in rows if not row[0].startswith(" -")]
    assert firsts == [
        "idle connections",
        "20 of many addresses",
        "20 of one address",
        "messages",
        "3,000",
    ]
    assert all(cell.strip() for row in rows for cell in row)
    assert printed.strip() in readme.read_text()
    assert "old" not in readme.read_text()
