/*
 * How fast a network is between two programs.
 *
 *   link_speed serve PORT               takes one client after another, until it is ended
 *   link_speed send HOST PORT SECONDS   prints the bytes per second that the server has taken
 *   link_speed ask HOST PORT SECONDS    prints the median seconds of a round trip of 16 bytes
 *
 * A client's first byte says what it does: `s` sends, and at its end is told how many bytes there
 * were; `a` has each 16 bytes sent back.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 16, MOST_ROUNDS = 1000000 };

static char block[256 * 1024];
static double rounds[MOST_ROUNDS];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int fill(int fd, size_t size)
{
    for (size_t have = 0; have < size;) {
        ssize_t n = read(fd, block + have, size - have);
        if (n <= 0)
            return 0;
        have += n;
    }
    return 1;
}

static void put(int fd, const void *what, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)what + done, size - done);
        if (n < 0)
            err(1, "write");
        done += n;
    }
}

static void without_delay(int fd)
{
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void serve(const struct sockaddr_in *at)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (const void *)at, sizeof *at) || listen(listener, 8))
        err(1, "listen");
    puts("ready");
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        uint64_t taken = 0;
        char kind = 0;
        without_delay(fd);
        if (read(fd, &kind, 1) == 1 && kind == 'a')
            while (fill(fd, MESSAGE))
                put(fd, block, MESSAGE);
        else {
            for (ssize_t n; (n = read(fd, block, sizeof block)) > 0;)
                taken += n;
            put(fd, &taken, sizeof taken);
        }
        close(fd);
    }
}

static int connected(const struct sockaddr_in *to, char kind)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (const void *)to, sizeof *to))
        err(1, "connect");
    without_delay(fd);
    put(fd, &kind, 1);
    return fd;
}

static void send_for(const struct sockaddr_in *to, double seconds)
{
    int fd = connected(to, 's');
    uint64_t taken;
    double began = now();
    while (now() < began + seconds)
        put(fd, block, sizeof block);
    shutdown(fd, SHUT_WR);
    if (!fill(fd, sizeof taken))
        errx(1, "no answer");
    memcpy(&taken, block, sizeof taken);
    printf("%.0f\n", taken / (now() - began));
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void ask_for(const struct sockaddr_in *to, double seconds)
{
    int fd = connected(to, 'a'), count = 0;
    double end = now() + seconds;
    while (now() < end && count < MOST_ROUNDS) {
        double began = now();
        put(fd, block, MESSAGE);
        if (!fill(fd, MESSAGE))
            errx(1, "no answer");
        rounds[count++] = now() - began;
    }
    qsort(rounds, count, sizeof *rounds, by_size);
    printf("%.9f\n", rounds[count / 2]);
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    if (argc == 3 && !strcmp(argv[1], "serve")) {
        at.sin_port = htons(atoi(argv[2]));
        serve(&at);
    }
    if (argc != 5 || inet_pton(AF_INET, argv[2], &at.sin_addr) != 1)
        errx(2, "serve PORT | send HOST PORT SECONDS | ask HOST PORT SECONDS");
    at.sin_port = htons(atoi(argv[3]));
    (strcmp(argv[1], "send") ? ask_for : send_for)(&at, atof(argv[4]));
    return 0;
}
