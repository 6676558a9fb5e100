from bench import central_fleet


def test_the_bench_of_many_devices_prints_its_table_and_keeps_it(tmp_path, capsys, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"Before.\n{central_fleet.BEGIN}\nold\n{central_fleet.END}\nAfter.\n")
    monkeypatch.setattr(central_fleet, "PAUSE", 0.1)
    monkeypatch.setattr(central_fleet, "LATE", 0.1)
    central_fleet.main([1, 2], 4.0, readme)
    printed = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in rows] == ["devices", "-------", "1", "2"]
    assert all(cell.strip() for row in rows[2:] for cell in row[:-1])
    assert all(row[1].strip().endswith(" %") for row in rows[2:])
    assert printed.strip() in readme.read_text()
    assert "old" not in readme.read_text()
