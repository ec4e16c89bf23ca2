/* Remembers what every write to a database file replaced, until the file is synced.
 *
 * Loaded by LD_PRELOAD into a process that is going to be killed. The kernel keeps what a killed process
 * wrote; a power cut does not keep what was never synced. `unsynced.py` reads what is noted here and makes
 * of the one the other.
 *
 * UNSYNCED_FOLDER  the data folder; its *.sqlite files, write-ahead logs and journals are watched
 * UNSYNCED_NOTES   where notes go, on the same file system: one file a process, and a shared counter
 * UNSYNCED_LIES    set: syncs are not noted, as on a disk that says it has synced and has not
 * UNSYNCED_SLOW    microseconds that a sync takes, as on a real disk, so that kills fall into it
 * UNSYNCED_DIE_AT  the process kills itself as its so-manieth sync begins
 *
 * A note is on its way to the kernel before the write that it is about, so that a kill in between leaves a
 * note of a write that never was, which does no harm. The -shm files are not watched: a restart of the
 * machine drops them, and SQLite makes them anew.
 *
 * Syncs by one process stand for the writes of every process, as they do in the kernel. The order of notes
 * is exact within a process; each watched file has one writing process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096
#define NAME 256

enum kind { WRITE = 1, TRUNCATE, CREATE, UNLINK, RENAME, SYNC, SYNC_FOLDER };

struct note {
    uint64_t magic, number, kind, inode;
    int64_t offset, count, size_before, kept;
    char name[NAME], other[NAME];
};

static const uint64_t MAGIC = 0x6465636e79736e75ULL;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char folder[4096], notes_folder[4096];
static size_t folder_length;
static int lies, notes = -1, active;
static useconds_t slow;
static long syncs_left;
static uint64_t *counter;
static char *watched[FILES]; /* by descriptor: the file's name; "" for the folder itself */

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fallocate)(int, off_t, off_t);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

static void give_up(const char *what) {
    fprintf(stderr, "unsynced: %s: %s\n", what, strerror(errno));
    _exit(97);
}

static void find(void *function, const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        give_up(name);
    memcpy(function, &found, sizeof found);
}

static void begin(void) {
    find(&real_open, "open");
    find(&real_openat, "openat");
    find(&real_close, "close");
    find(&real_write, "write");
    find(&real_pwrite, "pwrite64");
    find(&real_writev, "writev");
    find(&real_pwritev, "pwritev64");
    find(&real_ftruncate, "ftruncate64");
    find(&real_fallocate, "posix_fallocate64");
    find(&real_unlink, "unlink");
    find(&real_rename, "rename");
    find(&real_fsync, "fsync");
    find(&real_fdatasync, "fdatasync");
    const char *where = getenv("UNSYNCED_FOLDER"), *to = getenv("UNSYNCED_NOTES");
    if (!where || !to)
        return;
    lies = getenv("UNSYNCED_LIES") != NULL;
    const char *wait = getenv("UNSYNCED_SLOW"), *die = getenv("UNSYNCED_DIE_AT");
    slow = wait ? (useconds_t)atol(wait) : 0;
    syncs_left = die ? atol(die) : 0;
    snprintf(folder, sizeof folder, "%s", where);
    snprintf(notes_folder, sizeof notes_folder, "%s", to);
    folder_length = strlen(folder);
    char path[4200];
    snprintf(path, sizeof path, "%s/counter", notes_folder);
    int fd = real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || real_ftruncate(fd, 8))
        give_up(path);
    counter = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counter == MAP_FAILED)
        give_up(path);
    real_close(fd);
    snprintf(path, sizeof path, "%s/%d.notes", notes_folder, (int)getpid());
    notes = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (notes < 0)
        give_up(path);
    active = 1;
}

static void ready(void) { pthread_once(&once, begin); }

/* The name of a watched file, "" for the folder itself, NULL for anything else. */
static const char *name_of(const char *path) {
    if (!active || strncmp(path, folder, folder_length))
        return NULL;
    const char *rest = path + folder_length;
    if (!*rest || !strcmp(rest, "/"))
        return "";
    if (*rest++ != '/' || !strstr(rest, ".sqlite") || strchr(rest, '/') || strlen(rest) >= NAME)
        return NULL;
    size_t length = strlen(rest);
    return length > 4 && !strcmp(rest + length - 4, "-shm") ? NULL : rest;
}

static const char *name_at(int fd) { return fd >= 0 && fd < FILES ? watched[fd] : NULL; }

static const char *file_at(int fd) {
    const char *name = name_at(fd);
    return name && *name ? name : NULL;
}

static uint64_t next_number(void) { return __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST); }

static void write_note(struct note *note, const void *before) {
    struct iovec parts[2] = {{note, sizeof *note}, {(void *)before, (size_t)note->kept}};
    note->magic = MAGIC;
    ssize_t wanted = (ssize_t)(sizeof *note) + note->kept;
    if (real_writev(notes, parts, note->kept ? 2 : 1) != wanted)
        give_up("a note cannot be written");
}

static void note_names(uint64_t kind, const char *name, const char *other, uint64_t number) {
    struct note note = {.kind = kind, .number = number};
    snprintf(note.name, NAME, "%s", name);
    snprintf(note.other, NAME, "%s", other);
    write_note(&note, NULL);
}

/* Keeps the bytes of a file that are about to be replaced or cut off. */
static void note_bytes(uint64_t kind, int fd, const char *name, off_t offset, size_t count) {
    struct stat now;
    if (fstat(fd, &now))
        give_up(name);
    int64_t end = kind == TRUNCATE || offset + (off_t)count > now.st_size ? now.st_size : offset + (off_t)count;
    int64_t kept = end > offset ? end - offset : 0;
    struct note note = {.kind = kind, .number = next_number(), .inode = now.st_ino, .offset = offset,
                        .count = (int64_t)count, .size_before = now.st_size, .kept = kept};
    snprintf(note.name, NAME, "%s", name);
    char *before = kept ? malloc((size_t)kept) : NULL;
    if (kept && (!before || pread(fd, before, (size_t)kept, offset) != kept))
        give_up(name);
    write_note(&note, before);
    free(before);
}

static int watch(int fd, const char *path, int is_new) {
    const char *name = fd >= 0 ? name_of(path) : NULL;
    if (name && fd < FILES) {
        pthread_mutex_lock(&lock);
        if (is_new && *name)
            note_names(CREATE, name, "", next_number());
        watched[fd] = strdup(name);
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

static int is_missing(const char *path, int flags) {
    const char *name = flags & O_CREAT ? name_of(path) : NULL;
    return name && access(path, F_OK) != 0;
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    ready();
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    int is_new = is_missing(path, flags);
    return watch(real_open(path, flags, mode), path, is_new);
}

int open64(const char *path, int flags, ...) {
    ready();
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    int is_new = is_missing(path, flags);
    return watch(real_open(path, flags | O_LARGEFILE, mode), path, is_new);
}

int openat(int at, const char *path, int flags, ...) {
    ready();
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    int is_new = is_missing(path, flags);
    return watch(real_openat(at, path, flags, mode), path, is_new);
}

int openat64(int at, const char *path, int flags, ...) {
    ready();
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    int is_new = is_missing(path, flags);
    return watch(real_openat(at, path, flags | O_LARGEFILE, mode), path, is_new);
}

int close(int fd) {
    ready();
    if (fd == notes && active) {
        errno = EBADF;
        return -1;
    }
    if (name_at(fd)) {
        pthread_mutex_lock(&lock);
        free(watched[fd]);
        watched[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ready();
    const char *name = file_at(fd);
    if (!name)
        return real_write(fd, bytes, count);
    pthread_mutex_lock(&lock);
    note_bytes(WRITE, fd, name, lseek(fd, 0, SEEK_CUR), count);
    ssize_t done = real_write(fd, bytes, count);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
    ready();
    const char *name = file_at(fd);
    if (!name)
        return real_pwrite(fd, bytes, count, offset);
    pthread_mutex_lock(&lock);
    note_bytes(WRITE, fd, name, offset, count);
    ssize_t done = real_pwrite(fd, bytes, count, offset);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return pwrite64(fd, bytes, count, offset);
}

static size_t total(const struct iovec *parts, int count) {
    size_t bytes = 0;
    for (int each = 0; each < count; each++)
        bytes += parts[each].iov_len;
    return bytes;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ready();
    const char *name = file_at(fd);
    if (!name)
        return real_writev(fd, parts, count);
    pthread_mutex_lock(&lock);
    note_bytes(WRITE, fd, name, lseek(fd, 0, SEEK_CUR), total(parts, count));
    ssize_t done = real_writev(fd, parts, count);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    ready();
    const char *name = file_at(fd);
    if (!name)
        return real_pwritev(fd, parts, count, offset);
    pthread_mutex_lock(&lock);
    note_bytes(WRITE, fd, name, offset, total(parts, count));
    ssize_t done = real_pwritev(fd, parts, count, offset);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}

int ftruncate64(int fd, off_t size) {
    ready();
    const char *name = file_at(fd);
    if (!name)
        return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    note_bytes(TRUNCATE, fd, name, size, 0);
    int done = real_ftruncate(fd, size);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int posix_fallocate64(int fd, off_t offset, off_t length) {
    ready();
    const char *name = file_at(fd);
    if (!name)
        return real_fallocate(fd, offset, length);
    pthread_mutex_lock(&lock);
    struct stat now;
    if (!fstat(fd, &now) && offset + length > now.st_size)
        note_bytes(TRUNCATE, fd, name, offset + length, 0);
    int done = real_fallocate(fd, offset, length);
    pthread_mutex_unlock(&lock);
    return done;
}

int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

/* A removed file is kept under another name, for the removal may be undone. */
int unlink(const char *path) {
    ready();
    const char *name = name_of(path);
    if (!name || !*name || access(path, F_OK))
        return real_unlink(path);
    pthread_mutex_lock(&lock);
    uint64_t number = next_number();
    char kept[NAME], target[4400];
    snprintf(kept, sizeof kept, "removed-%llu", (unsigned long long)number);
    snprintf(target, sizeof target, "%s/%s", notes_folder, kept);
    if (link(path, target))
        give_up(target);
    note_names(UNLINK, name, kept, number);
    int done = real_unlink(path);
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    ready();
    const char *before = name_of(from), *after = name_of(to);
    if (!before || !*before || !after || !*after)
        return real_rename(from, to);
    pthread_mutex_lock(&lock);
    note_names(RENAME, before, after, next_number());
    int done = real_rename(from, to);
    pthread_mutex_unlock(&lock);
    return done;
}

/* What was written before the sync began is safe when it ends well; the note comes after that. */
static int sync_by(int (*real)(int), int fd) {
    const char *name = name_at(fd);
    if (!name)
        return real(fd);
    char kept[NAME];
    struct stat now;
    pthread_mutex_lock(&lock);
    snprintf(kept, sizeof kept, "%s", name);
    uint64_t number = next_number();
    if (syncs_left && !--syncs_left)
        raise(SIGKILL);
    pthread_mutex_unlock(&lock);
    if (slow)
        usleep(slow);
    int done = real(fd);
    if (!done && !lies && !fstat(fd, &now)) {
        struct note note = {.kind = *kept ? SYNC : SYNC_FOLDER, .number = number, .inode = now.st_ino};
        snprintf(note.name, NAME, "%s", kept);
        pthread_mutex_lock(&lock);
        write_note(&note, NULL);
        pthread_mutex_unlock(&lock);
    }
    return done;
}

int fsync(int fd) {
    ready();
    return sync_by(real_fsync, fd);
}

int fdatasync(int fd) {
    ready();
    return sync_by(real_fdatasync, fd);
}
