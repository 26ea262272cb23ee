/* LD_PRELOAD library of the crash tests: counts and records what a process tree does to the watched files
 * and to its clients' sockets, and at the n-th such call kills, cuts the power, stops, or fails.
 *
 * Everything is steered through one shared file, CRASH_CONTROL, mapped by every process of the tree and by
 * the test (shim.py mirrors `struct control`): so the count goes on over forks and threads, and the record
 * outlives a SIGKILL. Nothing is counted before the test sets `armed`.
 *
 * Over 300 lines: one wrapper for each call, and they share the same few static functions.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define PATH_OCTETS 232
#define NAME_OCTETS 64
#define PLACES 8

enum kind { OPEN, MKDIR, WRITE, COPY, FSYNC, FDATASYNC, CLOSE, RENAME, LINK, UNLINK, RMDIR, TRUNCATE, FLOCK, SEND, SYNCFS, LOCK };
enum action { NONE, KILL, CUT, FAIL, SHORT, STOP };

struct call {
    uint64_t begin, end;   /* moments of one clock for the whole tree; end is 0 if the call never returned */
    uint64_t number;       /* which of the counted calls; 0: recorded only */
    uint64_t octets;
    int64_t result;
    int32_t error, kind, pid, tid, fd, flags;
    char path[PATH_OCTETS], other[PATH_OCTETS]; /* other: the new name, or the first bytes of what is sent */
};

struct control {
    uint64_t clock, count, recorded, fired; /* fired: number of the call that was acted on */
    uint64_t at, capacity;
    uint32_t armed, action, forever, after, whole_group, kinds, frozen, lying;
    int32_t error, uncut; /* uncut: why a power cut did not happen */
    char program[NAME_OCTETS];           /* "": any */
    char only[NAME_OCTETS];              /* count calls whose path has this in it */
    char watched[PLACES][PATH_OCTETS];   /* folders */
    char ignored[PLACES][NAME_OCTETS];   /* parts of paths */
    struct { char path[PATH_OCTETS]; uint32_t flag, unused; } mounts[PLACES];
    struct { uint32_t kinds, unused; char part[NAME_OCTETS]; } lies[PLACES]; /* said to be done, and not done */
    struct call calls[];
};

EXPORT const uint64_t crash_control_octets = sizeof(struct control);
EXPORT const uint64_t crash_call_octets = sizeof(struct call);

static struct control *control;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void open_control(void) {
    const char *path = getenv("CRASH_CONTROL");
    if (!path) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status)) return;
    void *at = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (at == MAP_FAILED) return;
    struct control *found = at;
    if (found->program[0]) {
        char exe[PATH_OCTETS] = "";
        ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
        const char *slash = length > 0 ? strrchr(exe, '/') : NULL;
        if (!slash || strcmp(slash + 1, found->program)) return;
    }
    control = found;
}

/* ---- what a call is about ---------------------------------------------------------------------------- */

static void path_of_fd(int fd, char *path) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_OCTETS - 1);
    path[length > 0 ? length : 0] = 0;
}

static void path_at(int dir_fd, const char *name, char *path) {
    char folder[PATH_OCTETS] = "";
    if (name[0] == '/') {
        snprintf(path, PATH_OCTETS, "%s", name);
        return;
    }
    if (dir_fd == AT_FDCWD) {
        if (!getcwd(folder, sizeof folder)) folder[0] = 0;
    } else {
        path_of_fd(dir_fd, folder);
    }
    if (snprintf(path, PATH_OCTETS, "%s/%s", folder, name) >= PATH_OCTETS) path[PATH_OCTETS - 1] = 0;
}

static int is_watched(const char *path) {
    for (int i = 0; i < PLACES; i++)
        if (control->ignored[i][0] && strstr(path, control->ignored[i])) return 0;
    for (int i = 0; i < PLACES; i++) {
        size_t length = strlen(control->watched[i]);
        if (length && !strncmp(path, control->watched[i], length) && (path[length] == '/' || !path[length])) return 1;
    }
    return 0;
}

/* A client's connection: its end at the server has the listener's name. Unnamed unix sockets are those on which
 * a process itself is the client, or speaks with its kin. */
static int is_clients(int fd) {
    int type = 0;
    struct sockaddr_storage name;
    socklen_t size = sizeof type, name_size = sizeof name;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_STREAM) return 0;
    if (getsockname(fd, (struct sockaddr *)&name, &name_size)) return 0;
    return name.ss_family != AF_UNIX || name_size > sizeof(sa_family_t);
}

/* ---- what is done about it --------------------------------------------------------------------------- */

static void wait_for_the_end(void) {
    for (;;) pause();
}

static void die(void) {
    kill(control->whole_group ? 0 : getpid(), SIGKILL);
    wait_for_the_end();
}

/* No other thread of the tree begins a call from now on: a power cut takes all file systems at once. */
static void cut_power(void) {
    __atomic_store_n(&control->frozen, 1, __ATOMIC_SEQ_CST);
    /* A deliverer acts as the mailbox's owner, who may not do this; root is still its saved user. */
    syscall(SYS_setresuid, -1, 0, -1);
    for (int i = 0; i < PLACES && control->mounts[i].path[0]; i++) {
        unsigned flag = control->mounts[i].flag;
        int fd = (int)syscall(SYS_openat, AT_FDCWD, control->mounts[i].path, O_RDONLY | O_CLOEXEC);
        if (ioctl(fd, _IOR('X', 125, unsigned), &flag)) control->uncut = errno; /* FS_IOC_SHUTDOWN */
    }
    die();
}

static void act(void) {
    switch (control->action) {
    case KILL: die(); break;
    case CUT: cut_power(); break;
    /* To this thread: one that is sent to the process may be taken by another, while this one goes on. */
    case STOP: syscall(SYS_tgkill, getpid(), gettid(), SIGSTOP); break;
    default: break;
    }
}

/* A part that ends in "$" has to be the end of the path. */
static int has_part(const char *path, const char *part) {
    size_t length = strlen(part), whole = strlen(path);
    if (!length || part[length - 1] != '$') return strstr(path, part) != NULL;
    return whole >= length - 1 && !strncmp(path + whole - (length - 1), part, length - 1);
}

static int lies_about(int kind, const char *path) {
    for (int i = 0; i < PLACES; i++)
        if (control->lies[i].kinds >> kind & 1 && has_part(path, control->lies[i].part)) return 1;
    return 0;
}

enum { GO_ON, PRETEND, REFUSE, HALVE };
struct entry { struct call *call; int verdict, acts_after; };

static struct call nowhere; /* for calls behind the record's capacity */

static struct entry begin(int kind, int fd, const char *path, const char *other, uint64_t octets, int flags) {
    struct entry entry = {NULL, GO_ON, 0};
    if (__atomic_load_n(&control->frozen, __ATOMIC_SEQ_CST)) wait_for_the_end();
    if (kind != SEND && lies_about(kind, path)) entry.verdict = PRETEND;
    if (!control->armed) return entry;
    uint64_t place = __atomic_fetch_add(&control->recorded, 1, __ATOMIC_SEQ_CST);
    struct call *call = entry.call = place < control->capacity ? &control->calls[place] : &nowhere;
    call->kind = kind;
    call->fd = fd;
    call->octets = octets;
    call->flags = flags;
    call->pid = getpid();
    call->tid = gettid();
    snprintf(call->path, PATH_OCTETS, "%s", path);
    if (other) {
        size_t length = kind == SEND ? octets : strlen(other);
        memcpy(call->other, other, length < PATH_OCTETS ? length : PATH_OCTETS - 1);
    }
    int counts = control->kinds >> kind & 1 && has_part(path, control->only);
    uint64_t number = counts ? __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST) : 0;
    call->number = number;
    call->begin = __atomic_add_fetch(&control->clock, 1, __ATOMIC_SEQ_CST);
    if (number && control->action && (number == control->at || (control->forever && number > control->at))) {
        if (!control->fired) control->fired = number;
        if (control->action == FAIL) entry.verdict = REFUSE;
        else if (control->action == SHORT) entry.verdict = HALVE;
        else if (control->after) entry.acts_after = 1;
        else act();
    }
    return entry;
}

static int64_t end(struct entry entry, int64_t result) {
    int error = errno;
    if (entry.call) {
        entry.call->result = result;
        entry.call->error = result < 0 ? error : 0;
        entry.call->end = __atomic_add_fetch(&control->clock, 1, __ATOMIC_SEQ_CST);
    }
    if (entry.acts_after) act();
    errno = error;
    return result;
}

static int is_idle(void) {
    return !control || !(control->armed || control->frozen || control->lying);
}

static struct entry begin_fd(int kind, int fd, const char *data, uint64_t octets) {
    static const struct entry none = {NULL, GO_ON, 0};
    int saved = errno;
    char path[PATH_OCTETS];
    if (is_idle() || fd < 0) return none;
    path_of_fd(fd, path);
    int is_socket = !strncmp(path, "socket:", 7);
    errno = saved;
    if (is_socket ? kind == CLOSE || !is_clients(fd) : !is_watched(path)) return none;
    struct entry entry = begin(is_socket ? SEND : kind, fd, path, is_socket ? data : NULL, octets, 0);
    errno = saved;
    return entry;
}

static struct entry begin_at(int kind, int dir_fd, const char *name, int new_fd, const char *new_name, int flags) {
    static const struct entry none = {NULL, GO_ON, 0};
    int saved = errno;
    char path[PATH_OCTETS], other[PATH_OCTETS] = "";
    if (is_idle() || !name) return none;
    path_at(dir_fd, name, path);
    if (new_name) path_at(new_fd, new_name, other);
    int ours = is_watched(path) || (new_name && is_watched(other));
    errno = saved;
    if (!ours) return none;
    struct entry entry = begin(kind, dir_fd, path, new_name ? other : NULL, 0, flags);
    errno = saved;
    return entry;
}

/* The body of every wrapper: `call` is what is really done, and only unless the verdict is another. */
#define DO(entry, call) \
    if ((entry).verdict == REFUSE) { errno = control->error; return (__typeof__(call))end(entry, -1); } \
    if ((entry).verdict == PRETEND) return (__typeof__(call))end(entry, 0); \
    return (__typeof__(call))end(entry, (int64_t)(call))

static size_t shortened(struct entry entry, size_t octets) {
    return entry.verdict == HALVE && octets > 1 ? octets / 2 : octets;
}

/* ---- the wrappers ------------------------------------------------------------------------------------ */

#define MODE_OF(flags, mode) \
    unsigned mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, unsigned); va_end(list); }

#define WRAP_OPEN(name) \
    EXPORT int name(const char *path, int flags, ...) { \
        REAL(name); MODE_OF(flags, mode) \
        struct entry entry = begin_at(OPEN, AT_FDCWD, path, -1, NULL, flags); \
        DO(entry, real(path, flags, mode)); \
    }
#define WRAP_OPENAT(name) \
    EXPORT int name(int dir_fd, const char *path, int flags, ...) { \
        REAL(name); MODE_OF(flags, mode) \
        struct entry entry = begin_at(OPEN, dir_fd, path, -1, NULL, flags); \
        DO(entry, real(dir_fd, path, flags, mode)); \
    }
WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)

/* What programs built with _FORTIFY_SOURCE call; never creates. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags) { return open(path, flags); }
EXPORT int __open64_2(const char *path, int flags) { return open64(path, flags); }

EXPORT int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    struct entry entry = begin_at(MKDIR, AT_FDCWD, path, -1, NULL, 0);
    DO(entry, real(path, mode));
}
EXPORT int mkdirat(int dir_fd, const char *path, mode_t mode) {
    REAL(mkdirat);
    struct entry entry = begin_at(MKDIR, dir_fd, path, -1, NULL, 0);
    DO(entry, real(dir_fd, path, mode));
}

EXPORT ssize_t write(int fd, const void *data, size_t octets) {
    REAL(write);
    struct entry entry = begin_fd(WRITE, fd, data, octets);
    DO(entry, real(fd, data, shortened(entry, octets)));
}
#define WRAP_PWRITE(name, offset_type) \
    EXPORT ssize_t name(int fd, const void *data, size_t octets, offset_type offset) { \
        REAL(name); \
        struct entry entry = begin_fd(WRITE, fd, data, octets); \
        DO(entry, real(fd, data, shortened(entry, octets), offset)); \
    }
WRAP_PWRITE(pwrite, off_t)
WRAP_PWRITE(pwrite64, off64_t)

static size_t sum_of(const struct iovec *parts, int count) {
    size_t sum = 0;
    for (int i = 0; i < count; i++) sum += parts[i].iov_len;
    return sum;
}
EXPORT ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    struct entry entry = begin_fd(WRITE, fd, count ? parts[0].iov_base : NULL, count ? parts[0].iov_len : 0);
    if (entry.call) entry.call->octets = sum_of(parts, count);
    if (entry.verdict == HALVE && count)
        return (ssize_t)end(entry, syscall(SYS_write, fd, parts[0].iov_base, shortened(entry, parts[0].iov_len)));
    DO(entry, real(fd, parts, count));
}
EXPORT ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t octets, unsigned flags) {
    REAL(copy_file_range);
    struct entry entry = begin_fd(COPY, out, NULL, octets);
    DO(entry, real(in, in_at, out, out_at, shortened(entry, octets), flags));
}
#define WRAP_SENDFILE(name, offset_type) \
    EXPORT ssize_t name(int out, int in, offset_type *at, size_t octets) { \
        REAL(name); \
        struct entry entry = begin_fd(COPY, out, NULL, 0); \
        DO(entry, real(out, in, at, shortened(entry, octets))); \
    }
WRAP_SENDFILE(sendfile, off_t)
WRAP_SENDFILE(sendfile64, off64_t)

#define WRAP_FD(name, kind) \
    EXPORT int name(int fd) { \
        REAL(name); \
        struct entry entry = begin_fd(kind, fd, NULL, 0); \
        DO(entry, real(fd)); \
    }
WRAP_FD(fsync, FSYNC)
WRAP_FD(fdatasync, FDATASYNC)
WRAP_FD(syncfs, SYNCFS)

EXPORT int close(int fd) {
    REAL(close);
    struct entry entry = begin_fd(CLOSE, fd, NULL, 0);
    if (entry.verdict == REFUSE) { /* Linux frees the descriptor whatever it answers */
        real(fd);
        errno = control->error;
        return (int)end(entry, -1);
    }
    DO(entry, real(fd));
}

EXPORT int rename(const char *old, const char *new) {
    REAL(rename);
    struct entry entry = begin_at(RENAME, AT_FDCWD, old, AT_FDCWD, new, 0);
    DO(entry, real(old, new));
}
EXPORT int renameat(int old_fd, const char *old, int new_fd, const char *new) {
    REAL(renameat);
    struct entry entry = begin_at(RENAME, old_fd, old, new_fd, new, 0);
    DO(entry, real(old_fd, old, new_fd, new));
}
EXPORT int renameat2(int old_fd, const char *old, int new_fd, const char *new, unsigned flags) {
    REAL(renameat2);
    struct entry entry = begin_at(RENAME, old_fd, old, new_fd, new, (int)flags);
    DO(entry, real(old_fd, old, new_fd, new, flags));
}
EXPORT int link(const char *old, const char *new) {
    REAL(link);
    struct entry entry = begin_at(LINK, AT_FDCWD, old, AT_FDCWD, new, 0);
    DO(entry, real(old, new));
}
EXPORT int linkat(int old_fd, const char *old, int new_fd, const char *new, int flags) {
    REAL(linkat);
    struct entry entry = begin_at(LINK, old_fd, old, new_fd, new, flags);
    DO(entry, real(old_fd, old, new_fd, new, flags));
}
EXPORT int unlink(const char *path) {
    REAL(unlink);
    struct entry entry = begin_at(UNLINK, AT_FDCWD, path, -1, NULL, 0);
    DO(entry, real(path));
}
EXPORT int unlinkat(int dir_fd, const char *path, int flags) {
    REAL(unlinkat);
    struct entry entry = begin_at(flags & AT_REMOVEDIR ? RMDIR : UNLINK, dir_fd, path, -1, NULL, flags);
    DO(entry, real(dir_fd, path, flags));
}
EXPORT int rmdir(const char *path) {
    REAL(rmdir);
    struct entry entry = begin_at(RMDIR, AT_FDCWD, path, -1, NULL, 0);
    DO(entry, real(path));
}
#define WRAP_TRUNCATE(name, offset_type) \
    EXPORT int name(int fd, offset_type octets) { \
        REAL(name); \
        struct entry entry = begin_fd(TRUNCATE, fd, NULL, (uint64_t)octets); \
        DO(entry, real(fd, octets)); \
    }
WRAP_TRUNCATE(ftruncate, off_t)
WRAP_TRUNCATE(ftruncate64, off64_t)
EXPORT int flock(int fd, int operation) {
    REAL(flock);
    struct entry entry = begin_fd(FLOCK, fd, NULL, 0);
    DO(entry, real(fd, operation));
}

/* Locks of parts of files (SQLite's), which are too many to be seen by those who do not ask for them. */
#define WRAP_FCNTL(name) \
    EXPORT int name(int fd, int command, ...) { \
        REAL(name); \
        va_list list; \
        va_start(list, command); \
        void *argument = va_arg(list, void *); \
        va_end(list); \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW; \
        if (!locks || is_idle() || control->kinds != 1u << LOCK) return real(fd, command, argument); \
        struct entry entry = begin_fd(LOCK, fd, NULL, 0); \
        DO(entry, real(fd, command, argument)); \
    }
WRAP_FCNTL(fcntl)
WRAP_FCNTL(fcntl64)

EXPORT ssize_t send(int fd, const void *data, size_t octets, int flags) {
    REAL(send);
    struct entry entry = begin_fd(SEND, fd, data, octets);
    DO(entry, real(fd, data, shortened(entry, octets), flags));
}
EXPORT ssize_t sendto(int fd, const void *data, size_t octets, int flags, const struct sockaddr *to, socklen_t size) {
    REAL(sendto);
    struct entry entry = begin_fd(SEND, fd, data, octets);
    DO(entry, real(fd, data, shortened(entry, octets), flags, to, size));
}
EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    const struct iovec *first = message->msg_iovlen ? message->msg_iov : NULL;
    struct entry entry = begin_fd(SEND, fd, first ? first->iov_base : NULL, first ? first->iov_len : 0);
    DO(entry, real(fd, message, flags));
}
