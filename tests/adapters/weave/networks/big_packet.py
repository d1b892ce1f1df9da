"""
Sends one UDP packet that may not be cut into pieces; the status is 1 where it is too big.
"""

import errno
import socket
import sys

IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
HEADERS = 28

address, size = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.settimeout(1)
    udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    udp.connect((address, 9))
    try:
        udp.send(bytes(size - HEADERS))
        udp.recv(1)
    except OSError as error:
        # It has arrived where the kernel answers that nobody listens there.
        sys.exit(0 if error.errno == errno.ECONNREFUSED else 1)
