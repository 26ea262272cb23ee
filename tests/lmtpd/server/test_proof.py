"""Transactions that wait for their proof."""

from lmtpd.server.proof import WAITING_TRANSACTIONS, Unproven


class Noted:
    def __init__(self) -> None:
        self.log: list[str] = []

    def confirm(self) -> None:
        self.log.append("confirmed")

    def release(self) -> None:
        self.log.append("released")


def test_confirmed_once():
    unproven, transaction = Unproven(), Noted()
    unproven.add(transaction)
    assert unproven

    unproven.confirm()
    unproven.confirm()
    unproven.release()

    assert not unproven
    assert transaction.log == ["confirmed"]


def test_released_once():
    unproven, transaction = Unproven(), Noted()
    unproven.add(transaction)

    unproven.release()
    unproven.confirm()

    assert transaction.log == ["released"]


def test_the_oldest_of_too_many_is_released():
    unproven, transactions = Unproven(), [Noted() for _ in range(WAITING_TRANSACTIONS + 1)]

    for transaction in transactions[:-1]:
        unproven.add(transaction)
    assert not transactions[0].log
    unproven.add(transactions[-1])

    assert transactions[0].log == ["released"]
    unproven.confirm()
    assert [transaction.log for transaction in transactions[1:]] == [["confirmed"]] * WAITING_TRANSACTIONS
