"""Links to the other nodes over mutual TLS; provides ``IPeers``.

`identity` knows certificates, `link` one connection, `dialler` when to try again, `peer` who
of the two dials, `admission` what a Hello has to say, `refusals` what is said when it does not
work, and `transport` holds them together.
"""
