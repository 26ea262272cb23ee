/*
 * The floor: what the file system allows.  Threads that do nothing but store messages durably in Maildirs:
 * create in tmp/, write, fsync, close, rename into new/, open and fsync new/.  No protocol, no ledger, no log.
 *
 * floor FOLDER THREADS DELIVERIES OCTETS USERS
 *
 * Thread t begins with user t % USERS and keeps to it, as a connection does in the other rows; with more users
 * than threads it goes round: t, t + THREADS, ...  The Maildirs, FOLDER/u000000 and so on, are made before the
 * clock starts; with DELIVERIES 0 that is all that happens.  Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *folder;
static int threads, users;
static long deliveries;
static size_t octets;
static char *body;
static atomic_long taken;
static pthread_barrier_t start;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void deliver(int user, int thread, long count)
{
    char tmp[512], new[512], dir[512];
    size_t done = 0;
    int fd;

    snprintf(dir, sizeof dir, "%s/u%06d/new", folder, user);
    snprintf(tmp, sizeof tmp, "%s/u%06d/tmp/%ld.M%ldP%dT%d.floor", folder, user, (long)time(NULL), count,
             (int)getpid(), thread);
    snprintf(new, sizeof new, "%s/u%06d/new/%s", folder, user, strrchr(tmp, '/') + 1);

    if ((fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        die(tmp);
    while (done < octets) {
        ssize_t wrote = write(fd, body + done, octets - done);
        if (wrote < 0)
            die("write");
        done += wrote;
    }
    if (fsync(fd) < 0 || close(fd) < 0)
        die("fsync or close");
    if (rename(tmp, new) < 0)
        die(new);
    if ((fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || fsync(fd) < 0)
        die(dir);
    close(fd);
}

static void *run(void *argument)
{
    int thread = (int)(long)argument;
    int user = thread % users;

    pthread_barrier_wait(&start);
    for (;;) {
        long count = atomic_fetch_add(&taken, 1);
        if (count >= deliveries)
            return NULL;
        deliver(user, thread, count);
        if (users > threads)
            user = (user + threads) % users;
    }
}

static void make_maildir(int user)
{
    static const char *const parts[] = {"", "/tmp", "/new", "/cur"};
    char path[512];

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/u%06d%s", folder, user, parts[i]);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            die(path);
    }
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: floor FOLDER THREADS DELIVERIES OCTETS USERS\n");
        return 64;
    }
    folder = argv[1];
    threads = atoi(argv[2]);
    deliveries = atol(argv[3]);
    octets = strtoul(argv[4], NULL, 10);
    users = atoi(argv[5]);
    if (!(body = malloc(octets + 1)))
        die("malloc");
    for (size_t i = 0; i < octets; i++)
        body[i] = i % 73 == 72 ? '\n' : 'x';
    for (int user = 0; user < users; user++)
        make_maildir(user);

    pthread_t *ids = calloc(threads, sizeof *ids);
    pthread_barrier_init(&start, NULL, threads + 1);
    for (long i = 0; i < threads; i++)
        if ((errno = pthread_create(&ids[i], NULL, run, (void *)i)))
            die("pthread_create");
    pthread_barrier_wait(&start);
    double began = now();
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    printf("{\"deliveries\": %ld, \"seconds\": %.6f}\n", deliveries, now() - began);
    return 0;
}
