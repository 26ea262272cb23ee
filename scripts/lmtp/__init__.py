"""An LMTP client with one reply for each recipient, which `smtplib.LMTP` has not (RFC 2033 4.2)."""
