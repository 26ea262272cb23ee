/*
 * LMTP load over a unix socket, for what smtp-source(1) cannot do: measure each message, keep to a rate, spread
 * over many users, and speak as Postfix's LMTP client does on a connection that it keeps: RSET alone; MAIL, RCPT
 * and DATA in one group; then the message with its dot (smtp_proto.c).
 *
 * load SOCKET CONNECTIONS MESSAGES OCTETS USERS RECIPIENTS RATE
 *
 * One thread per connection.  Connection c writes to user c % USERS; with more users than connections, message
 * and recipient each take the next of a random sequence, the same in every run.  RATE is messages a second over
 * all connections, at fixed times whether the server keeps up or not: the time of a message counts from the
 * moment it was due, so a stall is felt by every message that waits behind it.  RATE 0: as fast as replies come.
 *
 * Every message has its own Received and Message-ID line, as real mail has: to a server that recognises retries,
 * two equal messages at once are one.  The clock starts when every connection has its answer to LHLO.  Prints one
 * line of JSON; times in microseconds, up to the last reply behind the dot.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HEADER_OCTETS 512
#define NOT_DELIVERED UINT32_MAX

static const char *path;
static int connections, users, recipients;
static long messages;
static size_t octets;
static double rate, began;
static char *body;
static size_t body_octets;
static uint32_t *took;
static atomic_long taken, replies[6];
static pthread_barrier_t ready;

struct connection {
    int fd, number;
    uint64_t random;
    char input[8192];
    size_t from, to;
    char *group;
};

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "end of file");
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void sleep_until(double due)
{
    struct timespec t = {.tv_sec = (time_t)due, .tv_nsec = (long)((due - (time_t)due) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static void send_all(int fd, struct iovec *parts, int count)
{
    while (count) {
        ssize_t sent = writev(fd, parts, count);
        if (sent < 0)
            die("write");
        for (; count && (size_t)sent >= parts->iov_len; parts++, count--)
            sent -= parts->iov_len;
        if (count) {
            parts->iov_base = (char *)parts->iov_base + sent;
            parts->iov_len -= sent;
        }
    }
}

static void say(struct connection *c, const char *text)
{
    struct iovec part = {(char *)text, strlen(text)};
    send_all(c->fd, &part, 1);
}

/* Read one reply, of however many lines; return its code. */
static int reply(struct connection *c)
{
    for (;;) {
        char *line = c->input + c->from;
        char *end = memchr(line, '\n', c->to - c->from);
        if (end) {
            c->from = end + 1 - c->input;
            if (end - line < 4)
                die("no reply code");
            if (line[3] != '-')
                return atoi(line);
            continue;
        }
        memmove(c->input, line, c->to - c->from);
        c->to -= c->from;
        c->from = 0;
        errno = 0;
        ssize_t got = read(c->fd, c->input + c->to, sizeof c->input - c->to);
        if (got <= 0)
            die("read");
        c->to += got;
    }
}

static void expect(struct connection *c, int code)
{
    int got = reply(c);
    if (got != code) {
        fprintf(stderr, "load: reply %d where %d was expected\n", got, code);
        exit(1);
    }
}

static void connect_to(struct connection *c)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 60};

    if (strlen(path) >= sizeof address.sun_path)
        die("socket path too long");
    strcpy(address.sun_path, path);
    if ((c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
        die("socket");
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
    expect(c, 220);
    say(c, "LHLO load.example\r\n");
    expect(c, 250);
}

static int next_user(struct connection *c, int recipient)
{
    if (users <= connections)
        return (c->number + recipient) % users;
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random % users;
}

static void count_reply(int code)
{
    replies[code >= 100 && code <= 599 ? code / 100 : 0]++;
}

/* One transaction; return whether every recipient was answered 2xx. */
static int transact(struct connection *c, long count)
{
    char header[HEADER_OCTETS];
    int accepted = 0, delivered = 0, length, code;

    length = sprintf(c->group, "MAIL FROM:<sender@load.example>\r\n");
    for (int i = 0; i < recipients; i++)
        length += sprintf(c->group + length, "RCPT TO:<u%06d@bench.example>\r\n", next_user(c, i));
    strcpy(c->group + length, "DATA\r\n");
    say(c, c->group);
    expect(c, 250);
    for (int i = 0; i < recipients; i++) {
        if ((code = reply(c)) == 250)
            accepted++;
        else
            count_reply(code);
    }
    if ((code = reply(c)) != 354) {
        for (int i = 0; i < accepted; i++)
            count_reply(code);
        return 0;
    }
    length = snprintf(header, sizeof header,
                      "Received: from client.example (client.example [192.0.2.1])\r\n"
                      "\tby load.example (load) with ESMTP id L%dC%dN%ld\r\n"
                      "\tfor <u@bench.example>; Mon, 1 Jan 2024 00:00:00 +0000 (UTC)\r\n"
                      "Message-ID: <%d.%d.%ld@load.example>\r\n"
                      "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
                      "From: sender@load.example\r\nTo: undisclosed-recipients:;\r\nSubject: load\r\n\r\n",
                      (int)getpid(), c->number, count, (int)getpid(), c->number, count);
    struct iovec parts[] = {{header, length}, {body, body_octets}, {".\r\n", 3}};
    send_all(c->fd, parts, 3);
    for (int i = 0; i < accepted; i++) {
        count_reply(code = reply(c));
        delivered += code / 100 == 2;
    }
    return delivered == recipients;
}

static void *run(void *argument)
{
    struct connection c = {.number = (int)(long)argument};

    c.random = 88172645463325252ULL + 2654435761ULL * c.number;
    if (!(c.group = malloc(64 * (recipients + 2))))
        die("malloc");
    connect_to(&c);
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&ready);
    for (int first = 1;; first = 0) {
        long count = atomic_fetch_add(&taken, 1);
        if (count >= messages)
            break;
        double from = rate ? began + count / rate : now();
        if (rate)
            sleep_until(from);
        if (!first) {
            say(&c, "RSET\r\n");
            expect(&c, 250);
        }
        int delivered = transact(&c, count);
        took[count] = delivered ? (uint32_t)((now() - from) * 1e6) : NOT_DELIVERED;
    }
    pthread_barrier_wait(&ready);
    say(&c, "QUIT\r\n");
    expect(&c, 221);
    close(c.fd);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void report(double seconds)
{
    long delivered = messages;

    qsort(took, messages, sizeof *took, by_size);
    while (delivered && took[delivered - 1] == NOT_DELIVERED)
        delivered--;
    printf("{\"messages\": %ld, \"delivered\": %ld, \"seconds\": %.6f, "
           "\"replies_2xx\": %ld, \"replies_4xx\": %ld, \"replies_5xx\": %ld, \"replies_other\": %ld",
           messages, delivered, seconds, replies[2], replies[4], replies[5],
           replies[0] + replies[1] + replies[3]);
    if (delivered)
        printf(", \"p50_us\": %u, \"p90_us\": %u, \"p99_us\": %u, \"max_us\": %u", took[delivered / 2],
               took[delivered * 9 / 10], took[delivered * 99 / 100], took[delivered - 1]);
    printf("}\n");
}

static void make_body(void)
{
    body_octets = octets > HEADER_OCTETS ? octets - HEADER_OCTETS : 74;
    body_octets -= body_octets % 74;
    if (!(body = malloc(body_octets)))
        die("malloc");
    memset(body, 'x', body_octets);
    for (size_t i = 72; i < body_octets; i += 74)
        memcpy(body + i, "\r\n", 2);
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: load SOCKET CONNECTIONS MESSAGES OCTETS USERS RECIPIENTS RATE\n");
        return 64;
    }
    path = argv[1];
    connections = atoi(argv[2]);
    messages = atol(argv[3]);
    octets = strtoul(argv[4], NULL, 10);
    users = atoi(argv[5]);
    recipients = atoi(argv[6]);
    rate = atof(argv[7]);
    make_body();
    took = calloc(messages + 1, sizeof *took);

    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * 1024);
    pthread_barrier_init(&ready, NULL, connections + 1);
    pthread_t *ids = calloc(connections, sizeof *ids);
    for (long i = 0; i < connections; i++)
        if ((errno = pthread_create(&ids[i], &small, run, (void *)i)))
            die("pthread_create");
    pthread_barrier_wait(&ready);
    began = now();
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&ready);
    report(now() - began);
    for (int i = 0; i < connections; i++)
        pthread_join(ids[i], NULL);
    return 0;
}
