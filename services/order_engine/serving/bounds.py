"""What a connection may take: of time, of memory, and of the turns of others."""

HEAD_WITHIN_S = 10.0
HEAD_BYTES_MAX = 16_384  # counted in pieces, so that it is a little more for some
HEAD_LINES_MAX = 100
PIPELINED_MAX = 16
UNREAD_WITHIN_S = 10.0
LINGER_WITHIN_S = 2.0
UNSENT_BYTES_MAX = 16_384
KERNEL_BUFFER_BYTES = 65_536  # or it grows to megabytes for a client that does not read
CLOSE_WITHIN_S = 10.0
FLOOD_CLOSE_WITHIN_S = 1.0
IDLE_FRAMES_PER_S_MAX = 500
FRAGMENTS_MAX = 1_000
MESSAGE_WITHIN_S = 10.0  # from its first fragment
CONNECTIONS_MAX = 20_000
ADDRESS_SHARE = 4  # one address holds at most a fourth of all
SPARE_CONNECTIONS = 1_000  # beside the sockets there may be: one too many is told so by its code
