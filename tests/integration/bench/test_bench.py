from bench import instructions, report
from bench.__main__ import main
from bench.measure import Sizes

from central.hub.provisioning import Registration

TINY = Sizes(
    starts=1,
    catch_ups=1,
    backlog=12,
    one_by_one=3,
    backlog_under_commands=40,
    commands=3,
    warm_up=5,
    live=10,
    lives=1,
    many=12,
    waiting=(3, 30),
    statuses=2,
    written=5,
    written_before=2,
)

answer = Registration._answer


def answer_at_once(registration, rid, status, body):
    # Else the SDK asks again after 2 s, each of a dozen times.
    if status == 202:
        status, body = 200, registration._operations[body["operationId"]]
    answer(registration, rid, status, body)


def test_a_ratio_to_zero_is_nan_and_meets_no_goal():
    pair = report.Row("CPU", "0.01 s", "0.00 s", f"{report._quotient(0.01, 0.0):.2f}")
    assert pair.cells()[3] == "nan"
    assert not report._quotient(0.01, 0.0) <= 1.10


def test_the_bench_prints_a_whole_table_and_keeps_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Registration, "_answer", answer_at_once)
    monkeypatch.setattr(instructions, "can_be_counted", lambda: False)  # It takes minutes.
    readme = tmp_path / "README.md"
    readme.write_text(f"Before.\n{report.BEGIN}\nold\n{report.END}\nAfter.\n")
    main(TINY, readme)
    printed = capsys.readouterr().out
    assert readme.read_text() == f"Before.\n{report.BEGIN}\n\n{printed}\n{report.END}\nAfter.\n"
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0] == report.HEADINGS
    rows = cells[2:]
    assert len({row[0] for row in rows}) == len(rows) == 27
    for what, ours, theirs, _, goal, verdict in rows:
        assert ours != "-" or theirs != "-", what
        known = goal != "-" and ours != report.NOT_MEASURED
        assert verdict in ({"met", "MISSED"} if known else {""}), what
