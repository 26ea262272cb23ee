"""Events: what is told to programs of what has happened to mail, and how it reaches them."""
