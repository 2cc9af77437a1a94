"""What faces the clients: each module one protocol, a mapping of errors, and no logic."""
