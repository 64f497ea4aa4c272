"""Means of metrics, and their table."""

import numpy as np

from hero_jax.metrics.report import means, table


def test_means_leave_out_metrics_that_were_never_counted():
    sums = {"mlm/loss": np.array([6.0, 4.0]), "mlm/accuracy": np.array([0.0, 0.0])}
    assert means(sums) == {"mlm/loss": 1.5}


def test_the_table_joins_recalls_and_shows_fractions_as_percentages():
    results = {
        "tvr/vr_r@5": 0.5,
        "tvr/vr_r@10": 1.0,
        "tvr/vcmr_r@1_iou0.5": 0.25,
        "tvr/vr_queries": 12,
        "tvr/mr_map": 0.375,
        "tvr/mr_map_iou0.75": 0.0625,
        "tvr/chance_r@1": 0.01,
        "vsm/loss": 0.12345,
        "vsm/accuracy_vt": 0.2,
        "vsm/r@1": 0.75,
    }
    assert table(results).splitlines() == [
        "  tvr",
        "    chance r@1                    1.00%",
        "    mr map                       37.50%",
        "    mr map iou0.75                6.25%",
        "    vr queries                       12",
        "    vcmr iou0.5 recall        @1  25.00%",
        "    vr recall                 @5  50.00%  @10 100.00%",
        "  vsm",
        "    accuracy vt                  20.00%",
        "    loss                         0.1235",
        "    recall                    @1  75.00%",
    ]
