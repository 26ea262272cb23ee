"""Queries and filters as the administrator writes them."""

import pytest

from lmtpd.recipients.query import Query, QueryError, parse_filter, parse_mapping


@pytest.mark.parametrize(
    "text, names, percent",
    [
        ("SELECT 1 WHERE a = :address", ["address"], "SELECT 1 WHERE a = %(address)s"),
        (":user||:domain", ["user", "domain"], "%(user)s||%(domain)s"),
        ("a = :user -- :nothing\n", ["user"], "a = %(user)s -- :nothing\n"),
        ("':x' \":y\" /* :z */ :user", ["user"], "':x' \":y\" /* :z */ %(user)s"),
        ("'it''s :x' :user::text", ["user"], "'it''s :x' %(user)s::text"),
        ("a LIKE '%' AND b % 2 = :user", ["user"], "a LIKE '%%' AND b %% 2 = %(user)s"),
    ],
)
def test_parameters_are_found_where_they_are_parameters(text, names, percent):
    query = Query.parse(text)

    assert query.names == set(names)
    assert query.written(percent=False) == text
    assert query.written(percent=True) == percent


@pytest.mark.parametrize(
    "text, why",
    [
        ("SELECT :adress", ":adress is unknown: only :address, :user, :domain, :detail"),
        ("SELECT 1", "must ask for :address or :user"),
        ("SELECT ':user'", "must ask for :address or :user"),
        ("SELECT :domain", "must ask for :address or :user"),
    ],
)
def test_queries_that_cannot_be_meant(text, why):
    with pytest.raises(QueryError, match=why):
        Query.parse(text)


@pytest.mark.parametrize(
    "text, why",
    [
        ("(mail={adress})", "{adress} is unknown"),
        ("(mail=x)", "must ask for {address} or {user}"),
        ("(mail={domain})", "must ask for {address} or {user}"),
        ("mail={user}", "must begin and end with brackets"),
        ("(&(mail={user})", "as many closed as opened"),
        ("(mail={user)", "brace without its partner"),
    ],
)
def test_filters_that_cannot_be_meant(text, why):
    with pytest.raises(QueryError) as caught:
        parse_filter(text)

    assert why in str(caught.value)


def test_a_filter_and_a_mapping_that_can_be_meant():
    assert parse_filter("(&(a=b)(mail={user}@{domain}))") == "(&(a=b)(mail={user}@{domain}))"
    assert parse_mapping({"home": "homeDirectory"}) == {"home": "homeDirectory"}


def test_a_mapping_of_what_there_is_not():
    with pytest.raises(QueryError, match='"hom" is unknown: what can be mapped is home, maildir'):
        parse_mapping({"hom": "x"})
