/*
 * wait-for-weave COMMAND [ARGUMENT...]
 *
 * Process 1 of a container that gets an address from the weave adapter: waits until the interface
 * ethwe is up and has the addresses that the container's environment names, then becomes the
 * command. Nothing of it is left then: same process, environment, user, directory, open files,
 * blocked and ignored signals.
 *
 *   WEAVE_CIDR          The addresses, such as 10.255.0.51/8 or ip:10.2.0.1/16,fd00::1/64. Without
 *                       it, or where it is "none", the command starts at once.
 *   WEAVE_WAIT_SECONDS  How long to wait for them: 60 where it does not say, for ever if 0.
 *
 * The status is the command's. Where there is no command to have one:
 *
 *   120      the network did not come in time, or an address is another one's already
 *   121      it can't wait: no command, a setting that makes no sense, a kernel that refuses
 *   126,127  the command can't be run, is not there: as shells and Docker have it
 *   128+n    a signal has ended the wait: SIGHUP 129, SIGINT 130, SIGQUIT 131, SIGTERM 143
 *
 * It needs no rights, no /proc, no /sys and no file of the image. It is told by rtnetlink(7) that
 * something has changed, and then looks at everything anew. So nothing is remembered that could
 * become wrong, and news that the kernel had to drop are no special case.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define INTERFACE "ethwe"
#define SEPARATORS ", " /* Weave Net's own WEAVE_CIDR has spaces */

enum { NO_NETWORK = 120, CANNOT_WAIT = 121, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };
enum { DEFAULT_SECONDS = 60, MOST_SECONDS = 9999999, MOST_ADDRESSES = 64 };

struct address {
    int length;
    const char *text; /* 10.255.0.51/8, of that length, in the environment */
    unsigned char bytes[sizeof(struct in6_addr)];
    int family, prefix_length;
    bool present, tentative;
};

static struct address wanted[MOST_ADDRESSES], *wanted_end = wanted;
static struct ifinfomsg ethwe; /* its ifi_index is 0 where there is none */

/* The kernel makes no larger messages: netlink_recvmsg() in its net/netlink/af_netlink.c. */
static char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));

static void end(int signal_number)
{
    _exit(128 + signal_number);
}

/*
 * The kernel has no default actions for process 1. An execve takes these handlers away in one step,
 * so a signal either ends the wait or is the command's. Blocked signals would leave a gap between
 * the last look at them and the execve. What is ignored or blocked already stays so.
 */
static void end_at_signals(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    struct sigaction ending = {.sa_handler = end}, before;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &ending, NULL);
}

static bool parse_address(struct address *one)
{
    char host[INET6_ADDRSTRLEN], prefix_length[4];
    int end = 0;

    if (sscanf(one->text, "%45[0-9a-fA-F.:]/%3[0-9]%n", host, prefix_length, &end) != 2)
        return false;
    one->family = strchr(host, ':') == NULL ? AF_INET : AF_INET6;
    one->prefix_length = atoi(prefix_length);
    return end == one->length && one->prefix_length <= (one->family == AF_INET ? 32 : 128) &&
           inet_pton(one->family, host, one->bytes) == 1;
}

static void parse_addresses(const char *list)
{
    while (*(list += strspn(list, SEPARATORS)) != '\0') {
        if (wanted_end == wanted + MOST_ADDRESSES)
            errx(CANNOT_WAIT, "WEAVE_CIDR has more than %d addresses", MOST_ADDRESSES);
        list += strncmp(list, "ip:", 3) == 0 ? 3 : 0;
        wanted_end->text = list;
        wanted_end->length = (int)strcspn(list, SEPARATORS);
        if (!parse_address(wanted_end))
            errx(CANNOT_WAIT, "WEAVE_CIDR has \"%.*s\", which is no address such as 10.255.0.51/8",
                 wanted_end->length, list);
        list += wanted_end++->length;
    }
}

static int wait_seconds(void)
{
    const char *text = getenv("WEAVE_WAIT_SECONDS");

    if (text == NULL || *text == '\0')
        return DEFAULT_SECONDS;
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 7)
        errx(CANNOT_WAIT, "WEAVE_WAIT_SECONDS is \"%s\", not a whole number from 0 to %d", text,
             MOST_SECONDS);
    return atoi(text);
}

/* Readable when so many seconds have passed, never if 0. */
static int timer(int seconds)
{
    struct itimerspec when = {.it_value = {.tv_sec = seconds}};
    int made = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

    if (made < 0 || timerfd_settime(made, 0, &when, NULL) < 0)
        err(CANNOT_WAIT, "no timer");
    return made;
}

static int netlink(unsigned int groups)
{
    struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_groups = groups};
    int made = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (made < 0 || bind(made, (struct sockaddr *)&own, sizeof own) < 0)
        err(CANNOT_WAIT, "no netlink socket");
    return made;
}

/* Has the kernel tell of all links or of all addresses, each to a function. */
static void dump(int queries, unsigned short type, void (*take)(const struct nlmsghdr *))
{
    struct { struct nlmsghdr head; struct rtgenmsg all; } query = {
        .head = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
    };

    query.head.nlmsg_len = sizeof query;
    if (send(queries, &query, sizeof query, 0) < 0)
        err(CANNOT_WAIT, "no query to netlink");
    for (;;) {
        ssize_t length = recv(queries, buffer, sizeof buffer, 0);
        if (length < 0 && errno != EINTR)
            err(CANNOT_WAIT, "no answer from netlink");
        unsigned int left = length < 0 ? 0 : (unsigned int)length;
        for (struct nlmsghdr *message = (void *)buffer; NLMSG_OK(message, left);
             message = NLMSG_NEXT(message, left)) {
            if (message->nlmsg_type == NLMSG_DONE)
                return;
            if (message->nlmsg_type == NLMSG_ERROR)
                errx(CANNOT_WAIT, "netlink refuses the query");
            take(message);
        }
    }
}

static void take_link(const struct nlmsghdr *message)
{
    const struct ifinfomsg *link = NLMSG_DATA(message);
    int left = (int)IFLA_PAYLOAD(message);

    for (struct rtattr *part = IFLA_RTA(link); RTA_OK(part, left); part = RTA_NEXT(part, left))
        if (part->rta_type == IFLA_IFNAME && strcmp(RTA_DATA(part), INTERFACE) == 0)
            ethwe = *link;
}

static void take_address(const struct nlmsghdr *message)
{
    const struct ifaddrmsg *found = NLMSG_DATA(message);
    int left = (int)IFA_PAYLOAD(message);
    const void *bytes = NULL;

    /* Where there is an IFA_LOCAL, IFA_ADDRESS may be the other end's. */
    for (struct rtattr *part = IFA_RTA(found); RTA_OK(part, left); part = RTA_NEXT(part, left))
        if (part->rta_type == IFA_LOCAL || (part->rta_type == IFA_ADDRESS && bytes == NULL))
            bytes = RTA_DATA(part);
    if (bytes == NULL || (int)found->ifa_index != ethwe.ifi_index)
        return;
    for (struct address *one = wanted; one < wanted_end; one++)
        if (one->family == found->ifa_family && one->prefix_length == found->ifa_prefixlen &&
            memcmp(one->bytes, bytes, one->family == AF_INET ? 4 : 16) == 0) {
            if (found->ifa_flags & IFA_F_DADFAILED)
                errx(NO_NETWORK, "another one on the network has %.*s", one->length, one->text);
            one->present = true;
            one->tentative = found->ifa_flags & IFA_F_TENTATIVE;
        }
}

/*
 * What the command can't start without, as a clause, or NULL. The link-local address, which nobody
 * asked for, may be tentative: the kernel takes a second or two for it, and Docker's own eth0
 * starts with such a one too.
 */
static const char *missing(int queries)
{
    static char clause[128];

    ethwe.ifi_index = 0;
    dump(queries, RTM_GETLINK, take_link);
    if (ethwe.ifi_index == 0)
        return INTERFACE " is not there";
    if (!(ethwe.ifi_flags & IFF_UP))
        return INTERFACE " is down";
    if (!(ethwe.ifi_flags & IFF_RUNNING))
        return INTERFACE " has no carrier";
    for (struct address *one = wanted; one < wanted_end; one++)
        one->present = one->tentative = false;
    dump(queries, RTM_GETADDR, take_address);
    for (struct address *one = wanted; one < wanted_end; one++)
        if (!one->present || one->tentative) {
            const char *what = one->present ? "still asks for others with" : "lacks";
            snprintf(clause, sizeof clause, INTERFACE " %s %.*s", what, one->length, one->text);
            return clause;
        }
    return NULL;
}

static void wait_for_network(void)
{
    int seconds = wait_seconds();
    /* News before the first look: what changes after a look then ends the poll that follows. */
    int news = netlink(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
    int queries = netlink(0), bound = timer(seconds);
    struct pollfd either[] = {{.fd = news, .events = POLLIN}, {.fd = bound, .events = POLLIN}};
    const char *clause;

    while ((clause = missing(queries)) != NULL) {
        if (either[1].revents != 0)
            errx(NO_NETWORK, "no network after %d s: %s", seconds, clause);
        if (poll(either, 2, -1) < 0 && errno != EINTR)
            err(CANNOT_WAIT, "no poll");
        /* ENOBUFS says that news had to be dropped, once, before those that were not. */
        while (recv(news, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
            ;
    }
}

/*
 * The first file in PATH that may be executed, as runc looks it up (LookPath of Go's os/exec): no
 * default where there is no PATH, nothing below the working directory, no shell for a file that
 * the kernel can't run.
 */
static const char *find(const char *command)
{
    static char path[PATH_MAX];
    struct stat status;

    for (const char *place = getenv("PATH"); place != NULL && *place != '\0';) {
        int length = (int)strcspn(place, ":");
        int written = snprintf(path, sizeof path, "%.*s/%s", length, place, command);
        if (*place == '/' && written < PATH_MAX && stat(path, &status) == 0 &&
            !S_ISDIR(status.st_mode) && access(path, X_OK) == 0)
            return path;
        place += length + (place[length] == ':');
    }
    errx(NOT_FOUND, "exec: \"%s\": executable file not found in $PATH", command);
}

int main(int count, char **words)
{
    const char *addresses = getenv("WEAVE_CIDR"), *command;

    program_invocation_short_name = "wait-for-weave"; /* wherever it is mounted; err() begins so */
    end_at_signals();
    if (count < 2)
        errx(CANNOT_WAIT, "usage: wait-for-weave COMMAND [ARGUMENT...]");
    if (addresses != NULL && strcmp(addresses, "none") != 0)
        parse_addresses(addresses);
    if (wanted_end > wanted)
        wait_for_network();
    command = strchr(words[1], '/') == NULL ? find(words[1]) : words[1];
    execve(command, words + 1, environ);
    err(errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : NOT_EXECUTABLE, "exec %s", command);
}
