"""The dashboard and the alert rules: promtool takes them, and they speak of metrics that exist."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from lmtpd.report.metrics import METRICS
from tests.support.requirements import ROOT, need, program

MONITORING = ROOT / "monitoring"
KNOWN = {
    metric.exported + suffix
    for metric in METRICS
    for suffix in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
}


def promtool(*arguments: str) -> str:
    need("promtool")
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, check=False, timeout=60, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def panels() -> list[dict[str, object]]:
    found = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    assert isinstance(found, list)
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]  # type: ignore[attr-defined]  # as Grafana has it


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\blmtpd_\w+", text))


def test_promtool_accepts_the_alert_rules():
    assert "SUCCESS" in promtool("check", "rules", str(MONITORING / "alerts.yml"))


def test_alerts_fire_when_they_should_and_not_before():
    assert "SUCCESS" in promtool("test", "rules", str(MONITORING / "alerts_test.yml"))


def test_promtool_can_read_every_query_of_the_dashboard(tmp_path: Path):
    rules = [
        {"record": f"q:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$instance", ".*")}
        for number, query in enumerate(queries())
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", str(tmp_path / "rules.yml"))


@pytest.mark.parametrize("name", ["grafana.json", "alerts.yml", "alerts_test.yml"])
def test_metrics_that_are_named_exist(name: str):
    assert names_in((MONITORING / name).read_text()) - KNOWN == set()


def test_dashboard_shows_every_metric_that_moves():
    # The rest are moments, limits, and what is shown in another form.
    unshown = {
        "lmtpd_connections_accepted_total",
        "lmtpd_refusals_total",
        "lmtpd_log_lines_dropped_total",
        "lmtpd_history_rows_dropped_total",
    }
    counters = {
        metric.exported + ("_bucket" if metric.kind == "histogram" else "")
        for metric in METRICS
        if metric.kind != "gauge"
    }

    shown = names_in(" ".join(queries()))

    assert counters - shown - unshown == {"lmtpd_message_octets_bucket"}


def test_panels_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert isinstance(place, dict)
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
