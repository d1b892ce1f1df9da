/*
 * Sends requests, and measures: one command, one line of JSON with the figures.
 *
 *     load requests ADDRESS CONNECTIONS MILLISECONDS COUNT METHOD TARGET [BODY]
 *     load download ADDRESS TARGET
 *     load upload   ADDRESS BYTES length|chunked
 *     load source   ADDRESS BYTES         takes BYTES of a hijacked connection
 *     load sink     ADDRESS BYTES         sends BYTES into one
 *     load pingpong ADDRESS MILLISECONDS  16 bytes there and back through one
 *     load idle     ADDRESS COUNT         opens streams of events, and holds them
 *     load stall    ADDRESS TARGET        begins a download, and reads no further
 *
 * An address is the path of a UNIX socket, or a port of 127.0.0.1. Where COUNT is 0, requests go on
 * for MILLISECONDS, after a fifth of that to warm up, or until an answer came; else there are COUNT
 * of them. Idle and stall print their line when they are there, and hold on until their standard
 * input ends.
 */
#define _GNU_SOURCE
#include "http.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <time.h>

#define MAX_SECONDS 120
/* After so long, something hangs. */

#define RESPONSE_BYTES (256 * 1024)
#define READ_BYTES (256 * 1024)
#define PING_BYTES 16
#define IDLE_AT_ONCE 32
#define STALL_BYTES (1024 * 1024)
#define MAX_CONNECTIONS 256

static union address address;
static socklen_t address_bytes;
static char incoming[READ_BYTES + 1];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

static int open_connection(void)
{
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, &address.any, address_bytes))
        die("connect: %s", strerror(errno));
    send_at_once(fd);
    return fd;
}

static void send_all(int fd, const char *data, size_t bytes)
{
    while (bytes) {
        ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);
        if (sent < 0)
            die("send: %s", strerror(errno));
        data += sent;
        bytes -= (size_t)sent;
    }
}

static size_t receive(int fd, char *data, size_t bytes)
{
    ssize_t got = recv(fd, data, bytes, 0);
    if (got <= 0)
        die("receive: %s", got ? strerror(errno) : "the connection was closed");
    return (size_t)got;
}

/* Latencies */

static uint32_t *latencies;
static size_t latency_count, latency_room;

static void note_latency(uint64_t nanoseconds)
{
    if (latency_count == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 1 << 16;
        latencies = realloc(latencies, latency_room * sizeof(*latencies));
        if (latencies == NULL)
            die("out of memory");
    }
    latencies[latency_count++] = nanoseconds < UINT32_MAX ? (uint32_t)nanoseconds : UINT32_MAX;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(unsigned percent)
{
    return latencies[(latency_count - 1) * percent / 100] / 1000.0;
}

static void print_latencies(double seconds)
{
    qsort(latencies, latency_count, sizeof(*latencies), compare);
    printf("{\"count\": %zu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", latency_count,
           seconds, percentile_us(50), percentile_us(99));
}

static void print_bytes(uint64_t bytes, uint64_t started)
{
    printf("{\"bytes\": %llu, \"seconds\": %.6f}\n", (unsigned long long)bytes,
           (double)(now_ns() - started) / 1e9);
}

/* Heads */

/* Gives the bytes of a head that is in, or 0; of a status that is none of these, dies. */
static size_t head_end(const char *data, size_t have)
{
    const char *end = memmem(data, have, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    if (data[9] != '2' && memcmp(data + 9, "101", 3) != 0)
        die("answered: %.*s", (int)(end - data), data);
    return (size_t)(end - data) + 4;
}

/* Waits for a head in `incoming`: gives its bytes, and how many came in all. */
static size_t receive_head(int fd, size_t *have)
{
    size_t end = 0;
    for (*have = 0; end == 0; end = head_end(incoming, *have)) {
        if (*have == READ_BYTES)
            die("no end of a head in %d bytes", READ_BYTES);
        *have += receive(fd, incoming + *have, READ_BYTES - *have);
    }
    incoming[end - 1] = '\0'; /* headers are looked up before it */
    return end;
}

/* Requests, over connections that are kept alive */

struct client {
    int fd;
    uint64_t started;
    size_t have;
    char data[RESPONSE_BYTES + 1];
};

/* Whether the answer is in, to its last byte. */
static bool is_complete(struct client *it)
{
    size_t end = head_end(it->data, it->have);
    if (end == 0)
        return false;
    it->data[end - 1] = '\0';
    const char *length = header(it->data, "\r\nContent-Length:");
    uint64_t body = length ? number(length) : 0;
    bool chunked = length == NULL && header_has(it->data, "\r\nTransfer-Encoding:", "chunked");
    it->data[end - 1] = '\n';
    if (chunked) {
        struct chunks chunks = {0};
        end += take_chunks(&chunks, it->data + end, it->have - end);
        if (chunks.part != ENDED)
            return false;
    } else {
        end += body;
    }
    if (it->have > end)
        die("more came than was asked for");
    return it->have == end;
}

static char *make_request(const char *method, const char *target, const char *body)
{
    char *request, *headers = NULL;
    size_t bytes = body ? strlen(body) : 0;
    if (body && asprintf(&headers, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                         bytes) < 0)
        die("out of memory");
    if (asprintf(&request, "%s %s HTTP/1.1\r\nHost: docker\r\nUser-Agent: bench\r\n%s\r\n%s", method,
                 target, headers ? headers : "", body ? body : "") < 0)
        die("out of memory");
    free(headers);
    return request;
}

static void begin_request(struct client *it, const char *request, size_t bytes)
{
    it->have = 0;
    it->started = now_ns();
    send_all(it->fd, request, bytes);
}

static void measure_requests(unsigned connections, uint64_t window_ns, uint64_t count,
                             const char *request)
{
    static struct client *clients[MAX_CONNECTIONS];
    struct epoll_event events[MAX_CONNECTIONS];
    size_t bytes = strlen(request);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    if (connections > MAX_CONNECTIONS)
        die("at most %d connections", MAX_CONNECTIONS);
    for (unsigned i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        event.data.ptr = clients[i] = malloc(sizeof(struct client));
        clients[i]->fd = open_connection();
        epoll_ctl(poller, EPOLL_CTL_ADD, clients[i]->fd, &event);
    }
    uint64_t begin = now_ns() + (count ? 0 : window_ns / 5), end = begin + window_ns, now = 0;
    for (unsigned i = 0; i < connections; i++)
        begin_request(clients[i], request, bytes);
    while (count ? latency_count < count : now < end || latency_count == 0) {
        int ready = epoll_wait(poller, events, (int)connections, -1);
        for (int i = 0; i < ready; i++) {
            struct client *it = events[i].data.ptr;
            if (it->have == RESPONSE_BYTES)
                die("an answer has more than %d bytes", RESPONSE_BYTES);
            it->have += receive(it->fd, it->data + it->have, RESPONSE_BYTES - it->have);
            if (!is_complete(it))
                continue;
            now = now_ns();
            if (now >= begin && (now < end || count || latency_count == 0))
                note_latency(now - it->started);
            begin_request(it, request, bytes);
        }
    }
    print_latencies((double)((count || now > end ? now : end) - begin) / 1e9);
}

/* Bulk */

static void measure_download(const char *target)
{
    int fd = open_connection();
    char *request = make_request("GET", target, NULL);
    uint64_t started = now_ns(), bytes = 0, expected = number(strrchr(target, '/') + 1);
    size_t have, end;
    struct chunks chunks = {0};
    send_all(fd, request, strlen(request));
    end = receive_head(fd, &have);
    bool chunked = header_has(incoming, "\r\nTransfer-Encoding:", "chunked");
    char *data = incoming + end;
    for (have -= end;; have = receive(fd, data, READ_BYTES)) {
        bytes += have;
        if (chunked)
            take_chunks(&chunks, data, have);
        if (chunked ? chunks.part == ENDED : bytes >= expected)
            break;
        data = incoming;
    }
    bytes = chunked ? chunks.payload : bytes;
    if (bytes != expected)
        die("%llu bytes came of %llu", (unsigned long long)bytes, (unsigned long long)expected);
    print_bytes(bytes, started);
}

static void send_block(int fd, const char *block, size_t block_bytes, uint64_t bytes)
{
    for (; bytes > block_bytes; bytes -= block_bytes)
        send_all(fd, block, block_bytes);
    send_all(fd, block, bytes);
}

static void measure_upload(uint64_t bytes, bool chunked)
{
    static char plain_block[BLOCK_BYTES];
    size_t framed_bytes, have;
    char *framed = framed_block(&framed_bytes), head[256], told[64];
    int fd = open_connection();
    uint64_t started = now_ns();
    int head_bytes = snprintf(head, sizeof(head),
                              chunked ? "POST /upload HTTP/1.1\r\nHost: docker\r\n"
                                        "Transfer-Encoding: chunked\r\n\r\n"
                                      : "POST /upload HTTP/1.1\r\nHost: docker\r\n"
                                        "Content-Length: %llu\r\n\r\n",
                              (unsigned long long)bytes);
    send_all(fd, head, (size_t)head_bytes);
    if (chunked) {
        send_block(fd, framed, framed_bytes, bytes / CHUNK_BYTES * FRAMED_CHUNK_BYTES);
        send_all(fd, LAST_CHUNK, sizeof(LAST_CHUNK) - 1);
    } else {
        send_block(fd, plain_block, sizeof(plain_block), bytes);
    }
    size_t end = receive_head(fd, &have);
    while (memchr(incoming + end, '}', have - end) == NULL)
        have += receive(fd, incoming + have, READ_BYTES - have);
    incoming[have] = '\0';
    snprintf(told, sizeof(told), "{\"bytes\":%llu}", (unsigned long long)bytes);
    if (strcmp(incoming + end, told) != 0)
        die("uploaded %llu bytes, and was told %s", (unsigned long long)bytes, incoming + end);
    print_bytes(bytes, started);
}

/* Hijacked connections */

static int hijack(const char *query, size_t *early)
{
    int fd = open_connection();
    char *request;
    size_t have;
    if (asprintf(&request,
                 "POST /v1.41/containers/x/attach?%s HTTP/1.1\r\nHost: docker\r\n"
                 "Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
                 query) < 0)
        die("out of memory");
    send_all(fd, request, strlen(request));
    *early = receive_head(fd, &have);
    if (memcmp(incoming + 9, "101", 3) != 0)
        die("not hijacked: %s", incoming);
    *early = have - *early;
    free(request);
    return fd;
}

static void measure_hijacked(const char *way, uint64_t bytes)
{
    static char block[BLOCK_BYTES];
    char query[64];
    size_t early;
    uint64_t started = now_ns(), left;
    snprintf(query, sizeof(query), "%s=%llu", way, (unsigned long long)bytes);
    int fd = hijack(query, &early);
    if (strcmp(way, "sink") == 0) {
        send_block(fd, block, sizeof(block), bytes);
        for (left = 4; left; left -= receive(fd, incoming, left))
            ; /* the word "done" */
    } else {
        for (left = bytes - early; left;)
            left -= receive(fd, incoming, left < READ_BYTES ? left : READ_BYTES);
    }
    print_bytes(bytes, started);
}

static void measure_pingpong(uint64_t window_ns)
{
    char ping[PING_BYTES] = "ping";
    size_t early;
    int fd = hijack("echo=1", &early);
    uint64_t begin = now_ns() + window_ns / 5, end = begin + window_ns, sent, now = 0;
    while (now < end || latency_count == 0) {
        sent = now_ns();
        send_all(fd, ping, sizeof(ping));
        for (size_t left = sizeof(ping); left; left -= receive(fd, ping, left))
            ;
        now = now_ns();
        if (sent >= begin)
            note_latency(now - sent);
    }
    print_latencies((double)window_ns / 1e9);
}

/* What is held */

static void hold(void)
{
    char byte;
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
}

/* Opens streams, some at a time, so that no listener's queue is ever full. */
static void measure_idle(unsigned count)
{
    char *request = make_request("GET", "/v1.41/events", NULL);
    size_t bytes = strlen(request), have;
    int *fds = calloc(count, sizeof(*fds));
    uint64_t started = now_ns();
    for (unsigned from = 0; from < count; from += IDLE_AT_ONCE) {
        unsigned to = from + IDLE_AT_ONCE < count ? from + IDLE_AT_ONCE : count;
        for (unsigned i = from; i < to; i++) {
            fds[i] = open_connection();
            send_all(fds[i], request, bytes);
        }
        for (unsigned i = from; i < to; i++)
            receive_head(fds[i], &have);
    }
    printf("{\"count\": %u, \"seconds\": %.6f}\n", count, (double)(now_ns() - started) / 1e9);
    hold();
}

static void measure_stall(const char *target)
{
    int fd = open_connection();
    char *request = make_request("GET", target, NULL);
    size_t left = STALL_BYTES;
    uint64_t started = now_ns();
    send_all(fd, request, strlen(request));
    while (left)
        left -= receive(fd, incoming, left < READ_BYTES ? left : READ_BYTES);
    print_bytes(STALL_BYTES, started);
    hold();
}

int main(int count, char **words)
{
    be_a_child();
    alarm(MAX_SECONDS);
    if (count < 4)
        die("usage: load COMMAND ADDRESS ...");
    const char *command = words[1];
    address_bytes = parse_address(words[2], &address);
    if (strcmp(command, "requests") == 0 && count >= 8)
        measure_requests((unsigned)number(words[3]), number(words[4]) * 1000000, number(words[5]),
                         make_request(words[6], words[7], count > 8 ? words[8] : NULL));
    else if (strcmp(command, "download") == 0)
        measure_download(words[3]);
    else if (strcmp(command, "upload") == 0 && count == 5)
        measure_upload(number(words[3]), strcmp(words[4], "chunked") == 0);
    else if (strcmp(command, "source") == 0 || strcmp(command, "sink") == 0)
        measure_hijacked(command, number(words[3]));
    else if (strcmp(command, "pingpong") == 0)
        measure_pingpong(number(words[3]) * 1000000);
    else if (strcmp(command, "idle") == 0)
        measure_idle((unsigned)number(words[3]));
    else if (strcmp(command, "stall") == 0)
        measure_stall(words[3]);
    else
        die("there is no load %s", command);
    return 0;
}
