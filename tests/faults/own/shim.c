/*
 * Lets system calls on files of one directory go wrong, below Python.
 *
 * Loaded with LD_PRELOAD. Counts the calls that change something below `prefix` and not below `except`
 * (an emulated machine's own files), and lets the `at`-th one, or all from there on, fail. Of short
 * writes the `at`-th write is one: nothing else can be short.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum mode { ONCE, EVER, SHORT, AFTER, KILLED, SIGNALLED };

static char prefix[PATH_MAX], except[PATH_MAX];
static long count, at;
static int code, mode, number;
static char ours[4096];

long shim_count(void) { return count; }

void shim_arm(const char *below, const char *apart, long when, int how, int error, int which) {
    snprintf(prefix, sizeof prefix, "%s", below);
    snprintf(except, sizeof except, "%s", apart);
    count = 0;
    at = when;
    mode = how;
    code = error;
    number = which;
}

static int counted(const char *path) {
    if (!prefix[0] || !path || strncmp(path, prefix, strlen(prefix)))
        return 0;
    return !except[0] || strncmp(path, except, strlen(except));
}

/* What is to happen to this call: 0 nothing, 1 it fails, 2 it is short, 3 it fails behind its effect. */
static int next(int may_be_short) {
    if (mode == SHORT && !may_be_short)
        return 0;
    count++;
    if (!at || count < at || (mode != EVER && count > at))
        return 0;
    switch (mode) {
    case KILLED:
        kill(getpid(), SIGKILL);
        return 0;
    case SIGNALLED:
        raise(number);
        return 0;
    case SHORT:
        return 2;
    case AFTER:
        return 3;
    default:
        return 1;
    }
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define TRY(call, short_) do { \
    int what_ = next(short_); \
    if (what_ == 1) { errno = code; return -1; } \
    if (what_ == 3) { (void)(call); errno = code; return -1; } \
    return (call); \
} while (0)

static int opened(int descriptor, const char *path) {
    if (descriptor >= 0 && descriptor < (int)sizeof ours)
        ours[descriptor] = (char)counted(path);
    return descriptor;
}

/* The path of a name in an open directory. */
static const char *whole(int directory, const char *path, char *buffer) {
    char link[64], place[PATH_MAX];
    if (directory == AT_FDCWD || !path || path[0] == '/')
        return path;
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t size = readlink(link, place, sizeof place - 1);
    if (size < 0)
        return path;
    place[size] = 0;
    snprintf(buffer, 2 * PATH_MAX, "%s/%s", place, path);
    return buffer;
}

static int open_as(int directory, const char *path, int flags, mode_t mode_) {
    REAL(int, "openat", int, const char *, int, mode_t);
    char buffer[2 * PATH_MAX];
    const char *full = whole(directory, path, buffer);
    if (counted(full) && (flags & (O_CREAT | O_WRONLY | O_RDWR))) {
        int what = next(0);
        if (what == 1) { errno = code; return -1; }
        int made = real(directory, path, flags, mode_);
        if (what == 3) { if (made >= 0) close(made); errno = code; return -1; }
        return opened(made, full);
    }
    return opened(real(directory, path, flags, mode_), full);
}

#define MODE(flags) mode_t m_ = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list l_; va_start(l_, flags); m_ = va_arg(l_, mode_t); va_end(l_); }

int open(const char *path, int flags, ...) { MODE(flags) return open_as(AT_FDCWD, path, flags, m_); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_as(AT_FDCWD, path, flags, m_); }
int openat(int d, const char *path, int flags, ...) { MODE(flags) return open_as(d, path, flags, m_); }
int openat64(int d, const char *path, int flags, ...) { MODE(flags) return open_as(d, path, flags, m_); }

static int mine(int fd) { return fd >= 0 && fd < (int)sizeof ours && ours[fd]; }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (!mine(fd)) return real(fd, data, size);
    int what = next(1);
    if (what == 1) { errno = code; return -1; }
    if (what == 2) return real(fd, data, size / 2);
    ssize_t done = real(fd, data, size);
    if (what == 3) { errno = code; return -1; }
    return done;
}

static ssize_t pwrite_as(int fd, const void *data, size_t size, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    if (!mine(fd)) return real(fd, data, size, offset);
    int what = next(1);
    if (what == 1) { errno = code; return -1; }
    if (what == 2) return real(fd, data, size / 2, offset);
    ssize_t done = real(fd, data, size, offset);
    if (what == 3) { errno = code; return -1; }
    return done;
}
ssize_t pwrite(int fd, const void *d, size_t s, off_t o) { return pwrite_as(fd, d, s, o); }
ssize_t pwrite64(int fd, const void *d, size_t s, off64_t o) { return pwrite_as(fd, d, s, o); }

int fsync(int fd) {
    REAL(int, "fsync", int);
    if (!mine(fd)) return real(fd);
    TRY(real(fd), 0);
}

int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    if (!mine(fd)) return real(fd, size);
    TRY(real(fd, size), 0);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int fallocate_as(int fd, off64_t offset, off64_t size) {
    REAL(int, "posix_fallocate64", int, off64_t, off64_t);
    if (!mine(fd)) return real(fd, offset, size);
    int what = next(0);
    if (what == 1) return code;
    int done = real(fd, offset, size);
    return what == 3 ? code : done;
}
int posix_fallocate(int fd, off_t o, off_t s) { return fallocate_as(fd, o, s); }
int posix_fallocate64(int fd, off64_t o, off64_t s) { return fallocate_as(fd, o, s); }

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (!counted(to)) return real(from, to);
    TRY(real(from, to), 0);
}

int renameat(int f, const char *from, int t, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    if (!counted(to)) return real(f, from, t, to);
    TRY(real(f, from, t, to), 0);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    if (!counted(path)) return real(path);
    TRY(real(path), 0);
}

int unlinkat(int d, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    if (!counted(path)) return real(d, path, flags);
    TRY(real(d, path, flags), 0);
}

int link(const char *from, const char *to) {
    REAL(int, "link", const char *, const char *);
    if (!counted(to)) return real(from, to);
    TRY(real(from, to), 0);
}

int mkdir(const char *path, mode_t m) {
    REAL(int, "mkdir", const char *, mode_t);
    if (!counted(path)) return real(path, m);
    TRY(real(path, m), 0);
}

int fchmod(int fd, mode_t m) {
    REAL(int, "fchmod", int, mode_t);
    if (!mine(fd)) return real(fd, m);
    TRY(real(fd, m), 0);
}

int chmod(const char *path, mode_t m) {
    REAL(int, "chmod", const char *, mode_t);
    if (!counted(path)) return real(path, m);
    TRY(real(path, m), 0);
}

int flock(int fd, int operation) {
    REAL(int, "flock", int, int);
    if (!mine(fd)) return real(fd, operation);
    TRY(real(fd, operation), 0);
}

int close(int fd) {
    REAL(int, "close", int);
    if (!mine(fd)) return real(fd);
    int what = next(0);
    ours[fd] = 0;
    int done = real(fd); /* whatever it says, the file is closed */
    if (what) { errno = code; return -1; }
    return done;
}
