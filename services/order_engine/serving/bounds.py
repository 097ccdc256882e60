"""The limits of a connection, in seconds, bytes and items."""

CONNECTIONS_MAX = 20_000
SPARE_CONNECTIONS = 1_000  # above the limit of sockets, to close the next ones with a code
ADDRESS_SHARE = 4  # one address holds at most a fourth of all connections

HEAD_WITHIN_S = 10.0
HEAD_BYTES_MAX = 16_384  # counted in pieces: a head may exceed it by one piece
HEAD_LINES_MAX = 100
PIECE_BYTES = 1_024
PIPELINED_MAX = 100

UNREAD_WITHIN_S = 10.0
UNSENT_BYTES_MAX = 16_384
KERNEL_BUFFER_BYTES = 65_536  # by default it grows to megabytes for a client that does not read
LINGER_WITHIN_S = 2.0
KEEP_ALIVE_S = 75  # for ports without a setting
PROBE_IDLE_CLIENTS_AFTER_S = 60  # by TCP: a client that vanished would count until KEEP_ALIVE_S

CLOSE_WITHIN_S = 10.0
MESSAGE_WITHIN_S = 10.0  # from its first fragment
MESSAGE_BYTES_MAX = 16_384
PING_EVERY_S = 20
PING_TIMEOUT_S = 20
