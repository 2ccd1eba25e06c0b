"""The ranking of runs with known bits, its errors beside SciPy's, and Holm's correction beside its definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from leaderboard_cases import RELU, SILU, WAVE, runs, small_protocol
from scipy import stats

from memcap.leaderboard.choosing import Trial
from memcap.leaderboard.entry import Entry
from memcap.leaderboard.ranking import holm, ranking
from memcap.leaderboard.told import print_ranking

PROTOCOL = small_protocol("leaderboard.learning_rates=[0.03]", "leaderboard.extra_rates=0")
CHOOSING, FRESH = [(0.03, seed) for seed in (0, 1)], [(0.03, seed) for seed in (1000, 1001, 1002)]
NOISE = {1000: 10.0, 1001: -4.0, 1002: 1.0}


def own(entry: Entry, level: float, wobble: float, **columns: object) -> pd.DataFrame:
    """Fresh runs share ``NOISE``, as equal data makes them; ``wobble`` is an activation's own."""

    def bits(rate: float, seed: int) -> float:
        return level + NOISE.get(seed, 0.0) + wobble * (seed % 2)

    return runs(entry, [*CHOOSING, *FRESH], bits, **columns)  # type: ignore[arg-type]


def board() -> pd.DataFrame:
    frame = pd.concat([own(SILU, 700, 0), own(RELU, 600, 6), own(WAVE, 698, 9)], ignore_index=True)
    return ranking(frame, [RELU, SILU, WAVE], PROTOCOL, ["wave"])


def test_the_ranking_is_by_the_mean_over_fresh_seeds() -> None:
    table = board()
    assert table["name"].tolist() == ["wave", "silu", "relu"]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["bits"].tolist() == pytest.approx([698 + 7 / 3 + 3, 700 + 7 / 3, 600 + 7 / 3 + 2])
    assert table["added"].tolist() == [True, False, False]
    assert table["num_seeds"].tolist() == [3, 3, 3]
    assert table["share"].tolist() == pytest.approx(table["bits"] / (500 * np.log2(10)))
    assert table["bits_per_parameter"].tolist() == pytest.approx(table["bits"] / 260)


def test_what_is_behind_is_a_paired_difference() -> None:
    table = board()
    leader, relu = ([x + NOISE[s] + w * (s % 2) for s in NOISE] for x, w in ((698, 9), (600, 6)))
    test = stats.ttest_rel(leader, relu)
    interval = test.confidence_interval()
    row = table.iloc[2]
    assert row["behind"] == pytest.approx(np.mean(leader) - np.mean(relu))
    assert [row["behind_low"], row["behind_high"]] == pytest.approx([interval.low, interval.high])
    silu = stats.ttest_rel(leader, [700 + NOISE[s] for s in NOISE])
    assert table["p_holm"].tolist()[1:] == pytest.approx([silu.pvalue, 2 * test.pvalue])
    assert table["told_apart"].tolist() == [False, False, True]
    assert np.isnan(table["p_holm"][0])


def test_noise_that_all_share_tells_apart_what_single_intervals_do_not() -> None:
    frame = pd.concat([own(SILU, 703, 0), own(RELU, 700, 0.1)], ignore_index=True)
    table = ranking(frame, [RELU, SILU], PROTOCOL)
    assert table["ci_low"][0] < table["bits"][1]
    assert table["told_apart"].tolist() == [False, True]


def test_unequal_seeds_are_shown_and_one_alone_is_no_test(capsys: pytest.CaptureFixture[str]) -> None:
    lone = own(WAVE, 650, 0)
    lone = lone[~lone["seed"].isin([1001, 1002])]
    table = ranking(
        pd.concat([own(SILU, 700, 0), own(RELU, 600, 6), lone], ignore_index=True),
        [RELU, SILU, WAVE],
        PROTOCOL,
    )
    assert table["name"].tolist() == ["silu", "wave", "relu"]
    assert table["num_seeds"].tolist() == [3, 1, 3]
    assert table["behind"][1] == pytest.approx(50)
    assert np.isnan(table["p_holm"][1])
    test = stats.ttest_rel([700 + NOISE[s] for s in NOISE], [600 + NOISE[s] + 6 * (s % 2) for s in NOISE])
    assert table["p_holm"][2] == pytest.approx(test.pvalue)  # the only test, so as it is
    print_ranking(table, PROTOCOL)
    lines = capsys.readouterr().out.splitlines()
    assert "seeds" in lines[0].split()
    assert ["1 of 3" in line for line in lines[1:4]] == [False, True, False]
    assert lines[2].rstrip().endswith("~")
    assert "Holm over 1 test)" in "".join(lines)


def test_what_diverged_everywhere_is_at_the_bottom_with_0_bits() -> None:
    lost = own(WAVE, 1e6, 0, status=lambda *_: "diverged")
    table = ranking(pd.concat([own(RELU, 600, 6), lost], ignore_index=True), [WAVE, RELU], PROTOCOL)
    assert table["name"].tolist() == ["relu", "wave"]
    assert table.iloc[1][["bits", "diverged_share", "share"]].tolist() == [0.0, 1.0, 0.0]
    alone = ranking(lost, [WAVE], PROTOCOL)
    assert alone["bits"].tolist() == [0.0]


def test_an_activation_without_fresh_runs_is_last_and_says_what_lacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    half = runs(WAVE, CHOOSING, lambda rate, seed: 700.0)
    frame = pd.concat([own(RELU, 600, 6), half], ignore_index=True)
    table = ranking(frame, [SILU, WAVE, RELU], PROTOCOL)
    assert table["name"].tolist() == ["relu", "silu", "wave"]
    assert table["missing"].tolist() == ["", "2 of 2 choosing, 3 of 3 fresh", "3 of 3 fresh"]
    assert table["num_seeds"].tolist() == [3, 0, 0]
    assert table.iloc[1:][["bits", "behind", "p_holm"]].isna().all(axis=None)
    assert table["told_apart"].tolist() == [False] * 3
    print_ranking(table, PROTOCOL)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["1", "-", "-"]
    assert [line.rstrip().endswith("no result") for line in lines[1:4]] == [False, True, True]
    assert (
        "missing:  runs without a result: silu (2 of 2 choosing, 3 of 3 fresh), wave (3 of 3 fresh)" in lines
    )
    assert "nan" not in "".join(lines)
    none = ranking(pd.DataFrame(), [RELU], PROTOCOL)
    assert none[["bits", "behind"]].isna().all(axis=None)


def test_a_failed_choosing_run_does_not_hide_the_rate_beyond_the_edge(
    capsys: pytest.CaptureFixture[str],
) -> None:
    protocol = small_protocol("leaderboard.extra_rates=1")
    grid = [(rate, seed) for rate in (0.01, 0.03, 0.1, 0.3) for seed in (0, 1) if (rate, seed) != (0.01, 0)]
    known = [*grid, *((0.3, seed) for seed in protocol.fresh)]
    frame = runs(RELU, known, lambda rate, seed: 1000 * rate + seed % 2)
    table = ranking(frame, [RELU], protocol, asked={Trial(RELU, 0.01, 0)})
    (row,) = table.to_dict("records")
    assert (row["learning_rate"], row["num_seeds"]) == (0.3, 3)
    assert row["bits"] == pytest.approx(300 + 1 / 3)
    assert row["missing"] == "1 of 8 choosing"
    print_ranking(table, protocol)
    edge = "edge:     the best rate is the smallest or largest that was tried: relu"
    assert edge in capsys.readouterr().out.splitlines()


def test_holm_by_hand_and_never_below_plain() -> None:
    assert holm([0.01, 0.04, 0.03, np.nan]).tolist()[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(holm([0.01, np.nan])[1])
    p = np.random.default_rng(0).uniform(size=20)
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
    assert corrected.max() <= 1


def test_what_is_printed_marks_who_is_not_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    print_ranking(board(), PROTOCOL)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip().endswith("~") for line in lines[1:4]] == [False, True, False]
    assert "wave *" in lines[1]
    assert lines[1].rstrip().endswith("leader")
    assert "Holm over 2 tests" in "".join(lines)
    assert "seeds" not in lines[0].split()
    assert not {"ceiling:", "edge:"} & set(" ".join(lines).split())


def test_a_board_that_is_not_overfilled_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.concat([own(SILU, 1655, 0), own(RELU, 700, 0)], ignore_index=True)
    print_ranking(ranking(frame, [RELU, SILU], PROTOCOL), PROTOCOL)
    assert "ceiling:  silu: all samples are memorized" in capsys.readouterr().out
