"""LMTP as a pure state machine: bytes to events, answers to bytes.  No socket, clock, thread or file here."""
