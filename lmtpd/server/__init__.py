"""Sockets, threads and processes around the protocol and the delivery; decides nothing about mail."""
