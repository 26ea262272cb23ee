"""Recipient sources: an address goes in, a mailbox comes out, or the reason why there is none."""
