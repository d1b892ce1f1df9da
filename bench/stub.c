/*
 * A stand-in for the Docker Engine that answers a few requests as fast as one thread can.
 *
 *     stub ADDRESS...     an address is the path of a UNIX socket, or a port of 127.0.0.1
 *
 * GET  /_ping                            the engine's own headers, and OK
 * GET  /containers/json                  8 KiB of JSON in one chunk, as the engine sends it
 * GET  /download/length/N, .../chunked/N N bytes
 * POST /upload                           counts a body, with a length or chunked
 * POST /containers/x/attach?source=N     hijacks, and sends N bytes; ?sink=N takes N; ?echo=1 echoes
 * GET  /events                           a head, and then nothing
 * POST /pre-hook                         the answer of an adapter that changes nothing
 *
 * A version in front of a path, as in /v1.41/_ping, is left aside.
 */
#define _GNU_SOURCE
#include "http.h"

#include <sys/epoll.h>

#define HEAD_BYTES 8192
#define EVENTS 256
#define READ_BYTES (256 * 1024)
#define LIST_BYTES 8192

/* Heads as Docker 20.10 sends them, without its Date: that differs in value, not in length. */
#define DATE "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
#define SERVER "Docker-Experimental: false\r\nOstype: linux\r\n"
#define NAME "Server: Docker/20.10.24+dfsg1 (linux)\r\n"
#define JSON "Api-Version: 1.41\r\nContent-Type: application/json\r\n" SERVER NAME DATE
#define JSON_HEAD "HTTP/1.1 200 OK\r\n" JSON
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"

static const char PING[] = "HTTP/1.1 200 OK\r\n"
                           "Api-Version: 1.41\r\n"
                           "Cache-Control: no-cache, no-store, must-revalidate\r\n" SERVER
                           "Pragma: no-cache\r\n" NAME DATE
                           "Content-Length: 2\r\n"
                           "Content-Type: text/plain; charset=utf-8\r\n\r\nOK";
static const char STREAM_HEAD[] = JSON_HEAD CHUNKED;
static const char HIJACK_HEAD[] = "HTTP/1.1 101 UPGRADED\r\n"
                                  "Content-Type: application/vnd.docker.raw-stream\r\n"
                                  "Connection: Upgrade\r\n"
                                  "Upgrade: tcp\r\n\r\n";
static const char NOT_FOUND[] = "HTTP/1.1 404 Not Found\r\n" JSON
                                "Content-Length: 28\r\n\r\n"
                                "{\"message\":\"page not found\"}";

/* The state of a connection is what its bytes mean now. */
enum state { HEAD, UPLOAD, ADAPTER, SENDING, ECHO, SINK, QUIET };

struct connection {
    int fd;
    enum state state;
    bool closes;        /* when the answer has gone out */
    bool chunked;       /* the request's body */
    bool awaits_room;   /* watched for EPOLLOUT, and for nothing else */
    uint64_t body_left; /* of a request with a length, or of what a sink takes */
    struct chunks chunks;
    /* What goes out: first, then a block over and over, then last. */
    const char *first, *last;
    size_t first_left, last_left;
    const char *block;
    size_t block_bytes, block_at;
    uint64_t block_left;
    size_t have;
    char head[HEAD_BYTES + 1];
    char answer[HEAD_BYTES + 512];
};

static int poller;
static char incoming[READ_BYTES];
static char plain_block[BLOCK_BYTES];
static char *chunked_block;
static size_t chunked_block_bytes;
static char list[LIST_BYTES + 512];
static size_t list_bytes;

static void close_connection(struct connection *it)
{
    close(it->fd);
    free(it);
}

static void watch(struct connection *it, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = it};
    epoll_ctl(poller, EPOLL_CTL_MOD, it->fd, &event);
}

/* Sends some of a piece: false when the kernel takes no more for now, or ever. */
static bool send_piece(struct connection *it, const char *data, size_t bytes, ssize_t *sent)
{
    *sent = send(it->fd, data, bytes, MSG_NOSIGNAL);
    return *sent > 0;
}

static bool has_output(const struct connection *it)
{
    return it->first_left || it->block_left || it->last_left;
}

/* Sends what there is to send. Gives false if the connection is gone. */
static bool flush(struct connection *it)
{
    ssize_t sent = 0;
    while (has_output(it)) {
        if (it->first_left) {
            if (!send_piece(it, it->first, it->first_left, &sent))
                break;
            it->first += sent;
            it->first_left -= (size_t)sent;
        } else if (it->block_left) {
            size_t bytes = it->block_bytes - it->block_at;
            if (bytes > it->block_left)
                bytes = it->block_left;
            if (!send_piece(it, it->block + it->block_at, bytes, &sent))
                break;
            it->block_left -= (size_t)sent;
            it->block_at = (it->block_at + (size_t)sent) % it->block_bytes;
        } else {
            if (!send_piece(it, it->last, it->last_left, &sent))
                break;
            it->last += sent;
            it->last_left -= (size_t)sent;
        }
    }
    if (has_output(it) && errno != EAGAIN) {
        close_connection(it);
        return false;
    }
    if (has_output(it) != it->awaits_room) {
        it->awaits_room = has_output(it);
        watch(it, it->awaits_room ? EPOLLOUT : EPOLLIN);
    }
    if (!has_output(it) && it->closes) {
        close_connection(it);
        return false;
    }
    return true;
}

static void send_first(struct connection *it, const char *data, size_t bytes)
{
    it->first = data;
    it->first_left = bytes;
}

/* Answers, and waits for the next request. */
static void answer(struct connection *it, const char *data, size_t bytes)
{
    it->state = HEAD;
    send_first(it, data, bytes);
    flush(it);
}

static void answer_upload(struct connection *it, uint64_t payload)
{
    char json[64];
    int json_bytes = snprintf(json, sizeof(json), "{\"bytes\":%llu}", (unsigned long long)payload);
    int bytes = snprintf(it->answer, sizeof(it->answer), JSON_HEAD "Content-Length: %d\r\n\r\n%s",
                         json_bytes, json);
    answer(it, it->answer, (size_t)bytes);
}

/* Answers a pre-hook with the request that it was shown. Its whole body is in. */
static void answer_hook(struct connection *it, const char *body)
{
    static const char member[] = "\"ClientRequest\":";
    const char *request = strstr(body, member);
    char json[HEAD_BYTES];
    if (request == NULL) {
        close_connection(it);
        return;
    }
    int json_bytes = snprintf(json, sizeof(json),
                              "{\"PowerstripProtocolVersion\": 1, \"ModifiedClientRequest\":%s",
                              request + sizeof(member) - 1);
    int bytes = snprintf(it->answer, sizeof(it->answer),
                         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Content-Length: %d\r\n\r\n%s",
                         json_bytes, json);
    it->have = 0;
    answer(it, it->answer, (size_t)bytes);
}

static void take_upload(struct connection *it, const char *data, size_t bytes)
{
    if (it->chunked) {
        take_chunks(&it->chunks, data, bytes);
        if (it->chunks.part == ENDED)
            answer_upload(it, it->chunks.payload);
        return;
    }
    it->body_left -= bytes < it->body_left ? bytes : it->body_left;
    it->chunks.payload += bytes;
    if (it->body_left == 0)
        answer_upload(it, it->chunks.payload);
}

static void take_sink(struct connection *it, size_t bytes)
{
    it->body_left -= bytes < it->body_left ? bytes : it->body_left;
    if (it->body_left)
        return;
    it->closes = true;
    it->state = QUIET;
    send_first(it, "done", 4);
    flush(it);
}

static void take_echo(struct connection *it, const char *data, size_t bytes)
{
    if (send(it->fd, data, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
        close_connection(it); /* pings are small: what does not fit is not one */
}

/* Sends a download, or the bytes of a hijack, behind a head. */
static void send_bulk(struct connection *it, const char *head, size_t head_bytes, uint64_t bytes,
                      bool chunked)
{
    it->state = HEAD;
    send_first(it, head, head_bytes);
    it->block = chunked ? chunked_block : plain_block;
    it->block_bytes = chunked ? chunked_block_bytes : BLOCK_BYTES;
    it->block_at = 0;
    it->block_left = chunked ? bytes / CHUNK_BYTES * FRAMED_CHUNK_BYTES : bytes;
    it->last = LAST_CHUNK;
    it->last_left = chunked ? sizeof(LAST_CHUNK) - 1 : 0;
    flush(it);
}

static void hijack(struct connection *it, const char *query, size_t early)
{
    const char *value = strchr(query, '=');
    uint64_t bytes = value ? strtoull(value + 1, NULL, 10) : 0;
    if (strncmp(query, "source", 6) == 0) {
        it->closes = true;
        send_bulk(it, HIJACK_HEAD, sizeof(HIJACK_HEAD) - 1, bytes, false);
        return;
    }
    bool is_sink = strncmp(query, "sink", 4) == 0;
    it->state = is_sink ? SINK : ECHO;
    it->body_left = bytes;
    it->closes = false;
    send_first(it, HIJACK_HEAD, sizeof(HIJACK_HEAD) - 1);
    if (flush(it) && is_sink && early)
        take_sink(it, early);
}

static const char *without_version(const char *path)
{
    if (path[0] == '/' && path[1] == 'v' && path[2] >= '0' && path[2] <= '9') {
        const char *slash = strchr(path + 1, '/');
        return slash ? slash : path;
    }
    return path;
}

static bool begins(const char *path, const char *with)
{
    return strncmp(path, with, strlen(with)) == 0;
}

static void answer_download(struct connection *it, const char *kind)
{
    bool chunked = begins(kind, "chunked");
    const char *slash = strchr(kind, '/');
    uint64_t bytes = slash ? strtoull(slash + 1, NULL, 10) : 0;
    int head = chunked ? snprintf(it->answer, sizeof(it->answer), "%s", STREAM_HEAD)
                       : snprintf(it->answer, sizeof(it->answer),
                                  JSON_HEAD "Content-Length: %llu\r\n\r\n", (unsigned long long)bytes);
    send_bulk(it, it->answer, (size_t)head, bytes, chunked);
}

/* Deals with a request whose head is in. */
static void take_request(struct connection *it, size_t head_bytes)
{
    size_t early = it->have - head_bytes;
    char *body = it->head + head_bytes;
    it->head[head_bytes - 1] = '\0'; /* the head's last newline: headers are looked up before it */
    const char *target = strchr(it->head, ' ');
    const char *path = without_version(target ? target + 1 : "");
    const char *length = header(it->head, "\r\nContent-Length:");
    it->have = 0;
    it->closes = header_has(it->head, "\r\nConnection:", "close");

    if (begins(path, "/_ping")) {
        answer(it, PING, sizeof(PING) - 1);
    } else if (begins(path, "/containers/json")) {
        answer(it, list, list_bytes);
    } else if (begins(path, "/pre-hook")) {
        it->body_left = length ? strtoull(length, NULL, 10) : 0;
        it->have = early;
        memmove(it->head, body, early);
        it->head[early] = '\0';
        it->state = ADAPTER;
        if (early >= it->body_left)
            answer_hook(it, it->head);
    } else if (begins(path, "/download/")) {
        answer_download(it, path + strlen("/download/"));
    } else if (begins(path, "/upload")) {
        it->state = UPLOAD;
        it->chunked = header_has(it->head, "\r\nTransfer-Encoding:", "chunked");
        it->body_left = length ? strtoull(length, NULL, 10) : 0;
        memset(&it->chunks, 0, sizeof(it->chunks));
        take_upload(it, body, early);
    } else if (begins(path, "/containers/") && strstr(path, "/attach?")) {
        hijack(it, strchr(path, '?') + 1, early);
    } else if (begins(path, "/events")) {
        it->state = QUIET;
        it->closes = false;
        send_first(it, STREAM_HEAD, sizeof(STREAM_HEAD) - 1);
        flush(it);
    } else {
        answer(it, NOT_FOUND, sizeof(NOT_FOUND) - 1);
    }
}

static void take_head(struct connection *it, size_t bytes)
{
    it->have += bytes;
    it->head[it->have] = '\0';
    if (it->state == ADAPTER) {
        if (it->have >= it->body_left)
            answer_hook(it, it->head);
        return;
    }
    char *end = memmem(it->head, it->have, "\r\n\r\n", 4);
    if (end != NULL)
        take_request(it, (size_t)(end - it->head) + 4);
}

static void read_connection(struct connection *it)
{
    bool is_head = it->state == HEAD || it->state == ADAPTER;
    char *place = is_head ? it->head + it->have : incoming;
    ssize_t bytes = recv(it->fd, place, is_head ? HEAD_BYTES - it->have : sizeof(incoming), 0);
    if (bytes < 0 && errno == EAGAIN)
        return;
    if (bytes <= 0)
        close_connection(it);
    else if (is_head)
        take_head(it, (size_t)bytes);
    else if (it->state == UPLOAD)
        take_upload(it, incoming, (size_t)bytes);
    else if (it->state == ECHO)
        take_echo(it, incoming, (size_t)bytes);
    else if (it->state == SINK)
        take_sink(it, (size_t)bytes);
}

static void accept_all(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *it = calloc(1, sizeof(*it));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = it};
        if (it == NULL)
            die("out of memory");
        it->fd = fd;
        send_at_once(fd);
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        die("accept: %s", strerror(errno));
}

static int listen_on(const char *text)
{
    union address address;
    socklen_t bytes = parse_address(text, &address);
    int yes = 1;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, &address.any, bytes) || listen(fd, 4096))
        die("%s: %s", text, strerror(errno));
    return fd;
}

static void fill_answers(void)
{
    char *place = list + sprintf(list, STREAM_HEAD);
    place += sprintf(place, "%x\r\n", LIST_BYTES);
    memset(place, ' ', LIST_BYTES);
    memcpy(place, "[{\"Id\":\"", 8);
    memset(place + 8, 'a', LIST_BYTES - 12);
    memcpy(place + LIST_BYTES - 4, "\"}]\n", 4);
    place += LIST_BYTES;
    place += sprintf(place, "\r\n" LAST_CHUNK);
    list_bytes = (size_t)(place - list);
    memset(plain_block, 'x', sizeof(plain_block));
    chunked_block = framed_block(&chunked_block_bytes);
}

int main(int count, char **addresses)
{
    /* The listening sockets are the first descriptors, and told apart by their pointers. */
    static int listeners[8];
    struct epoll_event events[EVENTS];
    be_a_child();
    fill_answers();
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (count < 2 || count > 8)
        die("usage: stub ADDRESS...");
    for (int i = 1; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners[i]};
        listeners[i] = listen_on(addresses[i]);
        epoll_ctl(poller, EPOLL_CTL_ADD, listeners[i], &event);
    }
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int *listener = events[i].data.ptr;
            struct connection *it = events[i].data.ptr;
            if (listener >= listeners && listener < listeners + 8)
                accept_all(*listener);
            else if (events[i].events & EPOLLOUT)
                flush(it);
            else
                read_connection(it);
        }
    }
}
