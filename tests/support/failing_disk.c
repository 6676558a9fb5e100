/* A disk that fails and loses data, for one program: preloaded, it stands between it and the files in a directory.

   FAILING_DISK is the directory. While the file $FAILING_DISK_CONTROL has a line such as "28 pwrite fdatasync", these
   calls fail with this errno. $FAILING_DISK_CARD is a directory with what a power cut would leave: data reach it with
   a successful sync. As on Linux, data whose sync failed are lost: a later sync does not write them, although reads
   show them. Deleting and renaming take effect at once. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))
#define MOST_RANGES 65536

struct range {
    char path[256]; /* Relative to the directory. */
    off_t from, to;
};

static struct range unsynced[MOST_RANGES];
static int count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Returns whether the path is in the directory, and its relative path. */
static int inside(const char *path, char *relative) {
    const char *directory = getenv("FAILING_DISK");
    size_t length = directory ? strlen(directory) : 0;
    if (!length || strncmp(path, directory, length) || path[length] != '/' || strlen(path + length) > 255)
        return 0;
    strcpy(relative, path + length + 1);
    return 1;
}

static int is_watched(int fd, char *relative) {
    char link[64], path[PATH_MAX];
    struct stat found;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0)
        return 0;
    path[size] = 0;
    return inside(path, relative) && !fstat(fd, &found) && found.st_nlink;
}

static int fails(const char *call) {
    char text[256] = {0}, *rest;
    const char *control = getenv("FAILING_DISK_CONTROL");
    int file = control ? REAL(int, open, const char *, int, ...)(control, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0)
        return 0;
    int number = atoi(strtok_r(text, " \n", &rest));
    for (char *word; (word = strtok_r(NULL, " \n", &rest));)
        if (!strcmp(word, call)) {
            errno = number;
            return 1;
        }
    return 0;
}

static void on_card(const char *relative, char *path) {
    snprintf(path, PATH_MAX, "%s/%s", getenv("FAILING_DISK_CARD"), relative);
}

static void note(const char *relative, off_t from, ssize_t size) {
    if (size <= 0)
        return;
    pthread_mutex_lock(&mutex);
    if (count == MOST_RANGES)
        abort();
    strcpy(unsynced[count].path, relative);
    unsynced[count].from = from;
    unsynced[count++].to = from + size;
    pthread_mutex_unlock(&mutex);
}

/* Copies what was written since the last sync to the card, or loses it. */
static void settle(int fd, const char *relative, int lost) {
    char path[PATH_MAX], buffer[65536];
    struct stat found;
    int card = -1, kept = 0;
    if (!lost) {
        on_card(relative, path);
        for (char *slash = path + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
            *slash = 0;
            mkdir(path, 0700);
        }
        card = REAL(int, open, const char *, int, ...)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (card < 0 || fstat(fd, &found) || ftruncate(card, found.st_size))
            abort();
    }
    /* Its own descriptor: the program's may be write-only. */
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int source = lost ? -1 : REAL(int, open, const char *, int, ...)(link, O_RDONLY | O_CLOEXEC);
    pthread_mutex_lock(&mutex);
    for (int n = 0; n < count; n++) {
        if (strcmp(unsynced[n].path, relative)) {
            unsynced[kept++] = unsynced[n];
            continue;
        }
        for (off_t at = unsynced[n].from; !lost && at < unsynced[n].to;) {
            size_t left = unsynced[n].to - at;
            ssize_t got = pread(source, buffer, left < sizeof buffer ? left : sizeof buffer, at);
            if (got <= 0)
                break;
            if (REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(card, buffer, got, at) != got)
                abort();
            at += got;
        }
    }
    count = kept;
    pthread_mutex_unlock(&mutex);
    if (source >= 0)
        close(source);
    if (card >= 0)
        close(card);
}

static int sync_with(const char *call, int (*real)(int), int fd) {
    char relative[256];
    struct stat found;
    if (!is_watched(fd, relative) || fstat(fd, &found))
        return real(fd);
    int failed = fails(call), number = errno;
    if (S_ISREG(found.st_mode))
        settle(fd, relative, failed);
    if (failed) {
        errno = number;
        return -1;
    }
    return real(fd);
}

int fsync(int fd) { return sync_with("fsync", REAL(int, fsync, int), fd); }

int fdatasync(int fd) { return sync_with("fdatasync", REAL(int, fdatasync, int), fd); }

ssize_t write(int fd, const void *data, size_t size) {
    char relative[256];
    ssize_t (*real)(int, const void *, size_t) = REAL(ssize_t, write, int, const void *, size_t);
    if (!is_watched(fd, relative))
        return real(fd, data, size);
    if (fails("write"))
        return -1;
    off_t from = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real(fd, data, size);
    note(relative, from, done);
    return done;
}

static ssize_t write_at(int fd, const void *data, size_t size, off_t at) {
    char relative[256];
    ssize_t (*real)(int, const void *, size_t, off_t) = REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    if (!is_watched(fd, relative))
        return real(fd, data, size, at);
    if (fails("pwrite"))
        return -1;
    ssize_t done = real(fd, data, size, at);
    note(relative, at, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return write_at(fd, data, size, at); }

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return write_at(fd, data, size, at); }

int unlink(const char *path) {
    char relative[256], card[PATH_MAX];
    if (inside(path, relative)) {
        if (fails("unlink"))
            return -1;
        on_card(relative, card);
        REAL(int, unlink, const char *)(card);
    }
    return REAL(int, unlink, const char *)(path);
}

int rename(const char *from, const char *to) {
    char relative[256], card_from[PATH_MAX], card_to[PATH_MAX];
    if (inside(from, relative)) {
        if (fails("rename"))
            return -1;
        on_card(relative, card_from);
        if (inside(to, relative)) {
            on_card(relative, card_to);
            REAL(int, rename, const char *, const char *)(card_from, card_to);
        }
    }
    return REAL(int, rename, const char *, const char *)(from, to);
}

static int open_with(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    char relative[256];
    if (flags & O_CREAT && inside(path, relative) && fails("create"))
        return -1;
    return real(path, flags, mode);
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                        \
        va_end(more);                                                                                                  \
        return open_with(REAL(int, name, const char *, int, ...), path, flags, mode);                                  \
    }

OPEN(open)
OPEN(open64)
