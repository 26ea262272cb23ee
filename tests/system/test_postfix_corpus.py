"""Real mail through the real Postfix, byte for byte."""

import pytest

from tests.support import maildirs
from tests.support.requirements import CORPUS, need
from tests.support.site import SENDER, body_of

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("postfix")]


def test_corpus_arrives_byte_for_byte(site):
    need("corpus")
    corpus = sorted(CORPUS.glob("*.eml"))
    # Held back at first, so that what Postfix made of each message (its Received line, missing headers added,
    # stray CR replaced) can be read from its queue: those bytes, and the body of the file, must arrive.
    with site.postfix.holding():
        queue_ids = {}
        for number, path in enumerate(corpus):
            recipient = f"m{number}@corpus.example.org"
            site.mailbox(recipient)
            message = path.read_bytes().replace(b"\n", b"\r\n")
            queue_ids[recipient] = site.postfix.smtp(SENDER, [recipient], message)
        queued = {recipient: site.postfix.content(queue_ids[recipient]) for recipient in queue_ids}
    site.postfix.wait_until_empty()

    for path, (recipient, content) in zip(corpus, queued.items(), strict=True):
        stored = maildirs.only_message(site.server.maildir(recipient))
        assert stored.original == content, path.name
        assert body_of(stored.original) == body_of(path.read_bytes()), path.name
