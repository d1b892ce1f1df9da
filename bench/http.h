/*
 * What the stub and the load program both need: sockets of this machine, and the framing of HTTP.
 */
#ifndef HTTP_H
#define HTTP_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CHUNK_BYTES 32768
/* What Go's io.Copy, and so the engine, writes at once. */

#define CHUNK_HEAD "8000\r\n"
#define FRAMED_CHUNK_BYTES (sizeof(CHUNK_HEAD) - 1 + CHUNK_BYTES + 2)
#define BLOCK_CHUNKS 8
#define BLOCK_BYTES (BLOCK_CHUNKS * CHUNK_BYTES)
#define LAST_CHUNK "0\r\n\r\n"

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* Ends with the process that started it, and takes as many descriptors as it may. */
static inline void be_a_child(void)
{
    struct rlimit files;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

union address {
    struct sockaddr any;
    struct sockaddr_in tcp;
    struct sockaddr_un local;
};

/* Reads the path of a UNIX socket, or a port of 127.0.0.1: nothing else is ever spoken to. */
static inline socklen_t parse_address(const char *text, union address *address)
{
    memset(address, 0, sizeof(*address));
    if (text[0] == '/') {
        address->local.sun_family = AF_UNIX;
        if (strlen(text) >= sizeof(address->local.sun_path))
            die("%s: the path is too long for a socket", text);
        strcpy(address->local.sun_path, text);
        return sizeof(address->local);
    }
    address->tcp.sin_family = AF_INET;
    address->tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address->tcp.sin_port = htons((uint16_t)atoi(text));
    return sizeof(address->tcp);
}

static inline void send_at_once(int fd)
{
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)); /* fails on UNIX sockets, rightly */
}

/* The value of a header, or NULL. The head ends with NUL; the name is as in "\r\nContent-Length:". */
static inline const char *header(const char *head, const char *line)
{
    const char *found = strcasestr(head, line);
    if (found == NULL)
        return NULL;
    found += strlen(line);
    return found + strspn(found, " ");
}

static inline bool header_has(const char *head, const char *line, const char *word)
{
    const char *value = header(head, line);
    const char *end = value ? strchr(value, '\r') : NULL;
    const char *found = value ? strcasestr(value, word) : NULL;
    return found && (end == NULL || found < end);
}

/* A block of whole chunks, to be sent over and over. */
static inline char *framed_block(size_t *bytes)
{
    char *block = malloc(BLOCK_CHUNKS * FRAMED_CHUNK_BYTES);
    char *place = block;
    if (block == NULL)
        die("out of memory");
    for (int i = 0; i < BLOCK_CHUNKS; i++) {
        place = mempcpy(place, CHUNK_HEAD, sizeof(CHUNK_HEAD) - 1);
        memset(place, 'x', CHUNK_BYTES);
        place = mempcpy(place + CHUNK_BYTES, "\r\n", 2);
    }
    *bytes = (size_t)(place - block);
    return block;
}

/* Reads a chunked body: RFC 9112, section 7.1. Begins as zeroes. */
struct chunks {
    enum { SIZE, EXTENSION, DATA, DATA_END, TRAILER, ENDED } part;
    uint64_t left;
    uint64_t payload;
    bool line_has_text;
};

/* Takes what belongs to the body, and gives how many bytes that was. */
static inline size_t take_chunks(struct chunks *body, const char *data, size_t bytes)
{
    size_t at = 0;
    while (at < bytes && body->part != ENDED) {
        char c = data[at];
        if (body->part == DATA) {
            size_t here = bytes - at < body->left ? bytes - at : (size_t)body->left;
            at += here;
            body->left -= here;
            body->payload += here;
            if (body->left == 0)
                body->part = DATA_END;
            continue;
        }
        at++;
        switch (body->part) {
        case SIZE:
        case EXTENSION:
            if (c == '\n')
                body->part = body->left ? DATA : TRAILER;
            else if (c == ';')
                body->part = EXTENSION;
            else if (body->part == SIZE && c != '\r')
                body->left = body->left * 16 + (uint64_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
            break;
        case DATA_END:
            if (c == '\n')
                body->part = SIZE;
            break;
        case TRAILER:
            if (c == '\n' && !body->line_has_text)
                body->part = ENDED;
            body->line_has_text = c != '\n' && (c != '\r' || body->line_has_text);
            break;
        default:
            break;
        }
    }
    return at;
}

#endif
