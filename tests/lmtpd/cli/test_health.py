"""What is wrong with a server, by its figures."""

import pytest

from lmtpd.cli.health import Health, complaints
from lmtpd.cli.readings import parsed
from lmtpd.report.exposition import exposition
from lmtpd.report.metrics import Figures

AT = 10_000.0
WELL: Figures = {
    "workers": {(): 2.0},
    "workers_wanted": {(): 2.0},
    "connections": {("0",): 400.0, ("1",): 500.0},
    "connections_limit": {(): 1000.0},
    "free_ratio": {("state",): 0.10},
    "free_inodes_ratio": {("state",): 0.10},
    "delivery_last_timestamp_seconds": {("deferred", "ledger"): AT - 300, ("deferred", "client_gone"): AT},
}


def found(**figures):
    _, text = exposition({**WELL, **figures}, {}, accept="")
    return [(each.health, each.text) for each in complaints(parsed(text.decode(), at=AT))]


def test_all_is_well_at_each_limit():
    assert found() == []


@pytest.mark.parametrize(
    "figures, health, words",
    [
        ({"workers": {(): 0.0}}, Health.CRITICAL, "no worker accepts connections"),
        ({"workers": {(): 1.0}}, Health.WARNING, "1 of 2 workers"),
        ({"connections": {("0",): 901.0}}, Health.WARNING, "901 connections, close to the limit of 1000"),
        ({"connections": {("0",): 1001.0}}, Health.CRITICAL, "over the limit"),
        ({"free_ratio": {("state",): 0.099}}, Health.WARNING, "9.9% of the space of the state file system"),
        ({"free_ratio": {("state",): 0.019}}, Health.CRITICAL, "1.9% of the space"),
        ({"free_inodes_ratio": {("mailboxes",): 0.01}}, Health.CRITICAL, "of the inodes of the mailboxes"),
        (
            {"delivery_last_timestamp_seconds": {("deferred", "ledger"): AT - 299}},
            Health.CRITICAL,
            "the ledger cannot be written: mail is deferred",
        ),
        (
            {"delivery_last_timestamp_seconds": {("deferred", "mailbox_unusable"): AT - 1}},
            Health.WARNING,
            "(last 1 s ago)",
        ),
    ],
)
def test_what_is_wrong_is_said(figures, health, words):
    ((judged, text),) = found(**figures)

    assert judged is health
    assert words in text


def test_worst_comes_first():
    judged = [health for health, _ in found(workers={(): 1.0}, free_ratio={("state",): 0.01})]

    assert judged == [Health.CRITICAL, Health.WARNING]
