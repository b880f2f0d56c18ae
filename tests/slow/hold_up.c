/* Holds up the program that it is loaded into, by a plan and a seed that it was compiled with: at some calls it sleeps
   for a while.

   A hold depends on the seed, the test, the program, by which forks and execs the test came to it, and the number of
   the call; not on pids, paths, the clock or other tests. An exec clears the memory, and gflow environments: what a new
   program is told is its timer slack, 50 us, which is the kernel's default, and up to 66 us more. */

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum mode { mode_random, mode_io, mode_exec, mode_fork };

enum call {
    EXEC, FORK, FORKED, WAIT, KILL, RENAME, SYNC, UNLINK, READ, WRITE, RECEIVE, SEND, ACCEPT, CONNECT, CLOSE, CALLS
};

struct hold {
    int in_1000, shortest, longest; /* how many of 1000 calls are held up; ms */
};

static const struct hold PLAN[][CALLS] = {
    [mode_random] = {
        [EXEC] = {300, 0, 400}, [FORK] = {100, 0, 150}, [FORKED] = {200, 0, 300}, [WAIT] = {50, 0, 150},
        [KILL] = {100, 0, 150}, [RENAME] = {50, 0, 150}, [SYNC] = {50, 0, 150},
    },
    [mode_io] = {
        [READ] = {30, 0, 250}, [WRITE] = {20, 0, 120}, [RECEIVE] = {30, 0, 250}, [SEND] = {20, 0, 150},
        [ACCEPT] = {200, 0, 250}, [CONNECT] = {200, 0, 250}, [UNLINK] = {50, 0, 150}, [RENAME] = {30, 0, 150},
        [CLOSE] = {1, 0, 60},
    },
    [mode_exec] = {[EXEC] = {1000, 250, 250}},
    [mode_fork] = {[FORKED] = {1000, 120, 120}, [RENAME] = {1000, 40, 40}, [SYNC] = {1000, 40, 40}},
};

/* Of one kind, by one program. A shell may read its script byte by byte, and strace waits for each call of others: they
   would take minutes. */
enum { MOST = 300 };

static uint64_t line = 0; /* of descent: the seed, the test, the forks and execs */
static atomic_uint children, calls[CALLS];

static uint64_t mix(uint64_t one, uint64_t other) /* splitmix64 */
{
    uint64_t mixed = one + (other + 1) * 0x9e3779b97f4a7c15;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    return mixed ^ mixed >> 31;
}

static uint64_t digest(const char *text)
{
    uint64_t found = 0;
    for (; *text; text++)
        found = mix(found, (unsigned char)*text);
    return found;
}

static void begin(uint64_t descent)
{
    line = descent;
    children = 0;
    for (int call = 0; call < CALLS; call++)
        calls[call] = 0;
}

void hold_up_test(const char *name) /* All that is held up from now on belongs to this test. */
{
    begin(mix(SEED, digest(name)));
}

int hold_up_next(int call) /* For how many ms the next call of this kind is held up. */
{
    struct hold hold = PLAN[MODE][call];
    unsigned number = calls[call]++;
    uint64_t drawn = mix(line, (uint64_t)call << 32 | number);
    if (number >= MOST || (int)(drawn % 1000) >= hold.in_1000)
        return 0;
    return hold.shortest + (drawn >> 20) % (hold.longest - hold.shortest + 1);
}

static void hold_up(enum call call)
{
    int ms = hold_up_next(call), before = errno;
    struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
    if (ms)
        syscall(SYS_nanosleep, &left, NULL); /* shorter if a signal comes */
    errno = before;
}

/* The calls that are held up, as the C library has them. Other libraries' constructors may come before ours. */
#define ALL(DO) \
    DO(execve) DO(execv) DO(execvp) DO(execvpe) DO(posix_spawn) DO(posix_spawnp) DO(fork) \
    DO(waitpid) DO(wait3) DO(wait4) DO(waitid) DO(kill) DO(killpg) \
    DO(rename) DO(renameat) DO(renameat2) DO(fsync) DO(fdatasync) DO(unlink) DO(unlinkat) \
    DO(read) DO(write) DO(recv) DO(recvfrom) DO(recvmsg) DO(send) DO(sendto) DO(sendmsg) \
    DO(accept) DO(accept4) DO(connect) DO(close)
#define DECLARE(name) static __typeof__(name) *next_##name;
#define FIND(name) next_##name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);
ALL(DECLARE)

__attribute__((constructor)) static void start(void)
{
    if (next_execve)
        return;
    ALL(FIND)
    begin(mix(mix(SEED, prctl(PR_GET_TIMERSLACK)), digest(program_invocation_short_name)));
}

#define HELD_UP(call, type, name, parameters, arguments) \
    type name parameters \
    { \
        start(); \
        hold_up(call); \
        return next_##name arguments; \
    }

HELD_UP(WAIT, pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options))
HELD_UP(WAIT, pid_t, wait3, (int *status, int options, struct rusage *usage), (status, options, usage))
HELD_UP(WAIT, pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *usage), (pid, status, options, usage))
HELD_UP(WAIT, int, waitid, (idtype_t type, id_t id, siginfo_t *found, int options), (type, id, found, options))
HELD_UP(KILL, int, kill, (pid_t pid, int number), (pid, number))
HELD_UP(KILL, int, killpg, (pid_t group, int number), (group, number))
HELD_UP(RENAME, int, rename, (const char *old, const char *new), (old, new))
HELD_UP(RENAME, int, renameat, (int from, const char *old, int to, const char *new), (from, old, to, new))
HELD_UP(RENAME, int, renameat2, (int from, const char *old, int to, const char *new, unsigned flags),
        (from, old, to, new, flags))
HELD_UP(SYNC, int, fsync, (int fd), (fd))
HELD_UP(SYNC, int, fdatasync, (int fd), (fd))
HELD_UP(UNLINK, int, unlink, (const char *path), (path))
HELD_UP(UNLINK, int, unlinkat, (int at, const char *path, int flags), (at, path, flags))
HELD_UP(RECEIVE, ssize_t, recv, (int fd, void *to, size_t size, int flags), (fd, to, size, flags))
HELD_UP(RECEIVE, ssize_t, recvfrom, (int fd, void *to, size_t size, int flags,
        struct sockaddr *from, socklen_t *length),
        (fd, to, size, flags, from, length))
HELD_UP(RECEIVE, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
HELD_UP(SEND, ssize_t, send, (int fd, const void *from, size_t size, int flags), (fd, from, size, flags))
HELD_UP(SEND, ssize_t, sendto, (int fd, const void *from, size_t size, int flags,
        const struct sockaddr *to, socklen_t length),
        (fd, from, size, flags, to, length))
HELD_UP(SEND, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
HELD_UP(ACCEPT, int, accept, (int fd, struct sockaddr *from, socklen_t *length), (fd, from, length))
HELD_UP(ACCEPT, int, accept4, (int fd, struct sockaddr *from, socklen_t *length, int flags), (fd, from, length, flags))
HELD_UP(CONNECT, int, connect, (int fd, const struct sockaddr *to, socklen_t length), (fd, to, length))
HELD_UP(CLOSE, int, close, (int fd), (fd))

static int talks(int fd) /* Whether another process may be at the other end: not so for files and /dev/null. */
{
    struct stat found;
    int before = errno, is_there = !fstat(fd, &found);
    errno = before;
    return is_there && (S_ISFIFO(found.st_mode) || S_ISSOCK(found.st_mode) ||
                        (S_ISCHR(found.st_mode) && major(found.st_rdev) != 1));
}

ssize_t read(int fd, void *to, size_t size)
{
    start();
    if (PLAN[MODE][READ].in_1000 && talks(fd))
        hold_up(READ);
    return next_read(fd, to, size);
}

ssize_t write(int fd, const void *from, size_t size)
{
    start();
    if (PLAN[MODE][WRITE].in_1000 && talks(fd))
        hold_up(WRITE);
    return next_write(fd, from, size);
}

pid_t fork(void)
{
    start();
    unsigned number = children++;
    pid_t pid = next_fork();
    if (pid == 0) {
        begin(mix(line, number));
        hold_up(FORKED);
    } else {
        hold_up(FORK);
    }
    return pid;
}

static void hand_down(void)
{
    prctl(PR_SET_TIMERSLACK, 50000 + (mix(line, children++) & 0xffff));
}

/* Where a program is looked for in all of PATH, only where it is found counts. Many tests start more Pythons than
   anything else, which where each exec is held up would take hours. */
static void before_exec(const char *path)
{
    int before = errno;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    start();
    if ((!slash || !access(path, X_OK)) && (MODE != mode_exec || !strstr(name, "python"))) {
        hold_up(EXEC);
        hand_down();
    }
    errno = before;
}

#define EXEC_HELD_UP(name, parameters, arguments) \
    int name parameters \
    { \
        before_exec(path); \
        return next_##name arguments; \
    }

EXEC_HELD_UP(execve, (const char *path, char *const words[], char *const environment[]), (path, words, environment))
EXEC_HELD_UP(execv, (const char *path, char *const words[]), (path, words))
EXEC_HELD_UP(execvp, (const char *path, char *const words[]), (path, words))
EXEC_HELD_UP(execvpe, (const char *path, char *const words[], char *const environment[]), (path, words, environment))

/* execl and execlp, which take their words one by one. */
#define LISTED_HELD_UP(name, same) \
    int name(const char *path, const char *word, ...) \
    { \
        va_list rest; \
        size_t count = 1; \
        va_start(rest, word); \
        while (va_arg(rest, char *)) \
            count++; \
        va_end(rest); \
        char *words[count + 1]; \
        words[0] = (char *)word; \
        va_start(rest, word); \
        for (size_t place = 1; place <= count; place++) \
            words[place] = va_arg(rest, char *); \
        va_end(rest); \
        return same(path, words); \
    }

LISTED_HELD_UP(execl, execv)
LISTED_HELD_UP(execlp, execvp)

/* Here the child is out of our reach: the parent is held up, and has the slack of its child meanwhile. */
#define SPAWN_HELD_UP(name) \
    int name(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, \
             const posix_spawnattr_t *attributes, char *const words[], char *const environment[]) \
    { \
        int ours = prctl(PR_GET_TIMERSLACK); \
        before_exec(path); \
        int status = next_##name(pid, path, actions, attributes, words, environment); \
        prctl(PR_SET_TIMERSLACK, ours); \
        return status; \
    }

SPAWN_HELD_UP(posix_spawn)
SPAWN_HELD_UP(posix_spawnp)
